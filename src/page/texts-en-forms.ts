// The pages with forms of their own in English: keys, import, confirm, disable, the way in and out.

import type { DisableStep } from '../protocol/connection.ts'

const disableSteps: Record<DisableStep, string> = {
  revoke: 'Revoke the tokens',
  uninstall: 'Uninstall the App',
  'delete-app': 'Delete the App on GitHub',
}

export const FORMS_EN = {
  keys: {
    title: 'Keys and recovery',
    lead: 'The App’s private keys prove this machine to GitHub. A recovery key opens snapshots, and the store should this machine lose its own key.',
    list: 'Private keys',
    empty: 'No private key is stored.',
    added: 'Added',
    old: 'Older than a year',
    rejected: 'Rejected by GitHub',
    retire: 'Remove',
    add: 'Add a private key',
    addHint:
      'Generate a key on the App’s page on GitHub; the file is downloaded by your browser. Then give it here. Both keys work until you remove the old one.',
    openSettings: 'Open the App’s page',
    addButton: 'Add key',
    keyText: 'Private key (PEM)',
    keyHint:
      'The .pem file that GitHub offered for download. It is stored encrypted on this machine and goes nowhere else.',
    recovery: 'Recovery keys',
    recoveryEmpty:
      'There is no recovery key: snapshots leave this machine unencrypted, and a lost store key loses the connection.',
    recoveryAdd: 'Make a recovery key',
    recoveryExplained: 'The key is made in this browser. This machine gets its public half only.',
    recoveryMake: 'Make a key in this browser',
    recoverySave: 'Save this key now: it is shown once, and this machine does not have it.',
    recoveryDownload: 'Download the file',
    recoveryKept: 'I keep it in a safe place, away from this machine',
    recoveryUse: 'Use this recovery key',
    recoveryByHand: 'Or give the public half of a key that you have',
    recipient: 'Recipient',
    recipientHint: 'It begins with age1. `age-keygen` or `ghconnect recovery-key create` makes one.',
    recoveryAddButton: 'Add',
    recoveryFile: 'A recovery key of ghconnectd: opens the snapshots and the store of this machine. Keep it elsewhere.',
  },
  importApp: {
    title: 'Import a GitHub App',
    lead: 'For an enterprise’s App, and for one that exists already: give its ID and a private key. Both are tried with GitHub before they are stored.',
    stepCreate: 'Create the App on GitHub, from a form that is filled in',
    stepKey: 'On its page, under “Private keys”, generate a key: the browser downloads a file',
    stepInstall: 'Under “Install App”, install it',
    stepImport: 'Give its ID and the file here',
    openForm: 'Open the form on GitHub',
    openApps: 'Open the Apps on GitHub',
    form: 'App and key',
    id: 'App ID or client ID',
    idHint: 'At the top of the App’s page, under “About”.',
    account: 'Account',
    accountHint: 'The organization or enterprise that the App acts for. Leave it empty if it is the App’s owner.',
    keyText: 'Private key (PEM)',
    keyHint:
      'The .pem file that GitHub offered for download. It is stored encrypted on this machine and goes nowhere else.',
    button: 'Import App',
  },
  confirm: {
    title: 'Create the App on GitHub',
    lead: (login: string) => `An owner of ${login} confirms on GitHub that this App is created.`,
    name: 'Name of the App',
    owner: 'Owner',
    permissions: 'Permissions',
    expires: 'Expires',
    key: 'The App’s private key goes from GitHub to this machine only, and is stored encrypted.',
    retry:
      'If GitHub says that it did not find a manifest, come back and press the button again. If the name is taken, change it on GitHub’s page.',
    button: 'Continue on GitHub',
    cancel: 'Cancel',
  },
  disable: {
    title: 'Disable GitHub Connect',
    warning: 'Services on this machine get no token from this moment on.',
    deleted: 'What is deleted:',
    items: (app: string, installations: number, tokens: number, keys: number) => [
      tokens === 1 ? '1 live token is revoked' : `${tokens} live tokens are revoked`,
      installations === 1
        ? `${app} is uninstalled from its account`
        : `${app} is uninstalled from ${installations} accounts`,
      keys === 1
        ? 'its private key is destroyed on this machine'
        : `its ${keys} private keys are destroyed on this machine`,
    ],
    owner: (app: string) => `An owner then deletes ${app} on GitHub, which has no API for that. The audit log is kept.`,
    confirm: (login: string) => `To confirm, type “${login}”`,
    local: 'Only on this machine: do not call GitHub',
    localHint: 'For an App that is gone, or an account that cannot be reached. Tokens live on for up to an hour.',
    button: 'Disable GitHub Connect',
    cancel: 'Cancel',
  },
  disabling: {
    lead: 'Serving has stopped. Each step goes on by itself, also after a restart.',
    progress: 'Progress',
    stop: 'Stop serving tokens',
    steps: disableSteps,
    deleteHint: 'GitHub has no API for this: an owner deletes the App under “Advanced”. It is noticed within seconds.',
    openAdvanced: 'Delete the App on GitHub',
    shred: 'Destroy the private key',
    deadline: 'At the latest the key is destroyed on:',
    finish: 'Do not wait for it',
    finishHint: 'The key is destroyed now. Delete the App on GitHub later.',
    retrying: 'GitHub could not be reached; it is tried again by itself.',
  },
  session: {
    signIn: 'Sign in',
    signInLead: (hostname: string) => `This link signs you in to the settings of GitHub Connect on ${hostname}.`,
    signInHint: 'It works once. The session ends after 15 minutes without use.',
    signInButton: 'Continue',
    expires: 'The link expires',
    signedOut: 'You are signed out',
    signedOutHint: 'For a new link, run this on the machine:',
  },
  error: {
    back: 'Back to the overview',
    help: 'For a new link to this page, run `ghconnect ui` on the machine.',
  },
}

export type FormTexts = typeof FORMS_EN
