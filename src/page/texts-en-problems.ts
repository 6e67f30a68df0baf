// What to do about a problem, in English, for somebody who has the page before him: the rest is the catalogue's.

import type { Code } from '../protocol/errors.ts'

/** Where the catalogue names a command, and somebody with this page before him has a form. */
export const ADVICE_EN: Readonly<Partial<Record<Code, string>>> = {
  'unknown-route': 'Go back to the overview.',
  'not-connected': 'See the overview for the state, and enable GitHub Connect there.',
  'already-connected': 'Disable GitHub Connect first.',
  'no-enable-pending': 'Enable GitHub Connect again; a link is good for one hour and one use.',
  'enable-in-progress': 'Wait: it is asked again by itself. To give up and start over, cancel setting up.',
  'code-rejected': 'A code is good once and for one hour. Delete the new App on GitHub, then continue on GitHub again.',
  'too-many-keys': 'Remove the old key, then add the new one.',
  'last-key': 'Add a new key first; disabling GitHub Connect ends the connection.',
  'key-lost': 'Generate a new key on the App’s page and import it here, or delete the App and enable again.',
  quarantined: 'Take over the connection if this machine replaces the other one, else delete the credentials here.',
  'wrong-store-key': 'Give the key that the store was made with, or unlock it with the recovery key.',
  'bundle-wrong-identity': 'Give the recovery key to which the snapshot was encrypted.',
  'bundle-sealed': 'Give the recovery key.',
  'key-rejected': 'Generate a key on the App’s page and add it under “Keys and recovery”.',
  'app-not-found': 'If the App was deleted, disable GitHub Connect on this machine, then enable it again.',
}
