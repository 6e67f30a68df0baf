// What each state of the connection means and asks for, in English: for somebody who has this page before him, not a terminal.

export const STATES_EN = {
  enable: {
    lead: (hostname: string) =>
      `Let ${hostname} use GitHub.com through a GitHub App that belongs to your own organization or enterprise.`,
    does: 'What it does',
    doesApp: 'Creates a GitHub App that your account owns. Its private key is stored encrypted, on this machine only.',
    doesTokens:
      'Gives short-lived tokens of a narrow scope to the local services that you allow, and refreshes them ahead of their end.',
    doesProxy: (proxy: string) => `Sends every call through the web proxy ${proxy}.`,
    doesDirect: 'Calls GitHub directly: no web proxy is configured.',
    doesAudit: 'Writes each grant and each change to an audit log that cannot be altered unnoticed.',
    data: 'Data and permissions',
    dataShared:
      'GitHub learns the name and address of this server and the address from which it calls. No users, repositories or license data are sent by GitHub Connect itself; what a local service sends with its token is its own.',
    dataPermissions: 'The App asks for these permissions, on the repositories that you choose when you install it:',
    before: 'Before you begin',
    beforeOwner: 'You own the organization, or the enterprise, on GitHub.',
    beforeHosts: 'This machine reaches these hosts on port 443:',
    beforeBrowser: 'So does your browser.',
    beforeAllowList: 'If the account has an IP allow list, it admits this machine:',
    beforeAllowListUnknown:
      'If the account has an IP allow list, it admits the address from which this machine calls out.',
    beforeClock: 'The clock of this machine is right.',
    beforeClockOff: (seconds: number) => `The clock of this machine is ${seconds} seconds off GitHub’s. Set it (NTP).`,
    verify: 'Check connection',
    form: 'Enable',
    kind: 'Which kind of account will own the App?',
    organization: 'Organization',
    organizationHint: 'The App is created for you; you confirm it on GitHub.',
    enterprise: 'Enterprise',
    enterpriseHint: 'You create the App from a form that is filled in, and import its key here.',
    user: 'Personal account',
    userHint: 'For trying things out.',
    login: 'Name of the account',
    loginHint: 'As in its address on GitHub: github.com/octo-org, or github.com/enterprises/octo-corp.',
    withoutRecovery: 'Go on without a recovery key. Snapshots will leave this machine unencrypted.',
    recoveryFirst: 'There is no recovery key yet.',
    recoveryMake: 'Make one',
    terms:
      'I may connect this account, and accept that the local services named in the configuration act in its name under GitHub’s terms.',
    button: 'Enable GitHub Connect',
    other: 'The App exists already?',
    import: 'Import it',
    ended: 'The last connection ended:',
  },
  progress: {
    title: 'Setting up',
    lead: (login: string) => `Connecting to ${login}. You may close this page and come back.`,
    created: 'Create the App',
    installed: 'Install the App',
    'first-token': 'Get the first token',
    createHint: 'An owner of the account confirms it on GitHub.',
    createButton: 'Continue on GitHub',
    importButton: 'Give ID and key',
    importHint: 'Create the App on GitHub, then give its ID and key here.',
    converting:
      'The App was created, and this machine cannot get its key from GitHub yet. Nothing is lost: the daemon keeps asking for an hour, and continues automatically.',
    expires: 'Good until',
    installHint: 'Choose the account and the repositories on GitHub. It is noticed by itself.',
    installButton: 'Install the App on GitHub',
    tokenHint: 'It takes a few seconds.',
    retry: 'Try again',
    cancel: 'Cancel',
    cancelHint: 'Stops setting up. An App that was created already stays on GitHub until you delete it there.',
  },
  connected: {
    lead: (login: string, app: string) => `Connected to ${login} as ${app}.`,
  },
  trouble: {
    github: 'What GitHub says:',
    open: 'Open on GitHub',
    suspended: {
      title: (app: string) => `The installation of ${app} is suspended`,
      next: (login: string) =>
        `No new tokens are made. An owner of ${login} unsuspends the App on GitHub; it is noticed within minutes.`,
      action: 'Open the installation',
    },
    uninstalled: {
      title: (app: string) => `${app} is no longer installed`,
      next: (login: string) =>
        `Tokens are not served. Install the App on ${login} again; it is noticed within minutes.`,
      action: 'Install the App',
    },
    'app-deleted': {
      title: (app: string) => `GitHub does not know ${app} any more`,
      next: () =>
        'Tokens are not served. If the App was deleted on purpose, disable GitHub Connect on this machine, then enable it again for a new App.',
      action: 'Disable on this machine',
    },
    'key-rejected': {
      title: (app: string) => `GitHub rejects the private key of ${app}`,
      next: () => 'Tokens at hand are served until they end. Generate a new key on the App’s page, and add it here.',
      action: 'Open the App’s page',
    },
    blocked: {
      title: (_app: string) => 'The IP allow list does not admit this machine',
      next: (login: string) =>
        `Let an owner of ${login} add this machine’s address to the IP allow list; it is noticed within minutes.`,
      action: 'Open the allow list',
    },
    /** `blocked`, where it is another policy than the allow list. */
    policy: {
      title: (app: string) => `A policy of the account keeps ${app} out`,
      next: (login: string) =>
        `Let an owner of ${login} look at its policies on Apps and its single sign-on; it is noticed within minutes.`,
      action: 'Open the settings',
    },
    address: 'Address of this machine:',
  },
  quarantined: {
    title: 'These credentials belong to another machine',
    explained: (host: string, here: string) =>
      `They were enabled on ${host}; this is ${here}. Nothing is served and no call goes out, so that a copy does not disturb the original.`,
    replace: 'This machine replaces it',
    replaceHint: 'The other one is gone and will not come back. Tokens are served at once.',
    adopt: 'Take over the connection',
    copy: 'This machine is a copy',
    copyHint: 'Deletes the credentials here. GitHub and the other machine notice nothing.',
    remove: 'Delete the credentials here',
  },
  locked: {
    title: 'The store is locked',
    explained: 'The key that opens the encrypted store cannot be had, so nothing can be served. Nothing is lost.',
    bring: 'Bring back the store key',
    bringHint:
      'It is the systemd credential `store.key`, or the file that `[store] key_file` names. The daemon tries again by itself.',
    recover: 'Or open it with the recovery key',
    waitTitle: 'A snapshot waits for its recovery key',
    waitExplained:
      'A snapshot that is encrypted was restored here. It becomes the connection once a recovery key opens it.',
    waitForm: 'Open it',
    identity: 'Recovery key',
    identityHint:
      'The file that was saved when the recovery key was made; it holds a line that begins with AGE-SECRET-KEY-1. It is used once and not stored.',
    button: 'Unlock',
  },
  keyLost: {
    title: 'The App was created, but its key never arrived',
    explained: (login: string) =>
      `GitHub made an App for ${login} and gave out its key once; this machine stopped before the key was on the disk.`,
    keep: 'Keep the App',
    keepHint: 'Generate a new key on its page on GitHub, and give it here.',
    keepButton: 'Import App and key',
    again: 'Start over',
    againHint: 'Delete the App on GitHub, then enable again.',
    openApps: 'Open the Apps on GitHub',
    cancel: 'Start over',
  },
}

export type StateTexts = typeof STATES_EN
