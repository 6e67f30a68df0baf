// Everything that can go wrong, once: its code, HTTP status, exit code, title and what to do next.

type Entry = { status: number; exit: 0 | 64 | 65 | 69 | 70 | 74 | 75 | 77 | 78; title: string; next: string }

/**
 * The catalogue. A code is stable: it is the `type` of a problem (RFC 9457) as `urn:ghconnect:problem:CODE`, and it decides the
 * exit code of the command line (sysexits.h). A test keeps README and OpenAPI document in step with it.
 */
export const CATALOGUE = {
  // What the caller did
  usage: { status: 400, exit: 64, title: 'Wrong usage', next: 'See --help of the command.' },
  'invalid-request': {
    status: 400,
    exit: 65,
    title: 'The request is malformed',
    next: 'Correct the named field; GET /v1/openapi.json describes each request.',
  },
  'body-too-large': { status: 413, exit: 65, title: 'The request body is too large', next: 'Send less.' },
  'unknown-route': {
    status: 404,
    exit: 64,
    title: 'There is no such route',
    next: 'GET /v1/openapi.json lists the routes of this socket.',
  },
  'browser-refused': {
    status: 403,
    exit: 77,
    title: 'Requests that come from a browser are refused',
    next: 'Call the socket directly, with Host: localhost and without Origin or Referer.',
  },
  'not-permitted': {
    status: 403,
    exit: 77,
    title: 'Not permitted',
    next: 'Ask an administrator for a profile; `sudo ghconnect explain` shows them who would get what.',
  },
  'peer-gone': {
    status: 403,
    exit: 77,
    title: 'The calling process cannot be identified',
    next: 'Ask again from a process that stays alive until it has its answer.',
  },
  'profile-required': {
    status: 400,
    exit: 64,
    title: 'Several profiles would allow this',
    next: 'Name one of them with `profile`.',
  },
  'installation-required': {
    status: 400,
    exit: 64,
    title: 'The App has several installations',
    next: 'Name one with `installation`.',
  },
  'repositories-required': {
    status: 400,
    exit: 64,
    title: 'The profile has patterns for repositories',
    next: 'Name the repositories with `repositories`.',
  },
  'rate-limited': {
    status: 429,
    exit: 75,
    title: 'Too many requests from this process',
    next: 'Wait, then ask again.',
  },
  'too-many-streams': {
    status: 429,
    exit: 75,
    title: 'Too many event streams of this user',
    next: 'Close one, or poll instead.',
  },
  'signed-out': {
    status: 401,
    exit: 77,
    title: 'Nobody is signed in to the page',
    next: 'Run `ghconnect ui` on this machine for a new link.',
  },
  'cross-site': {
    status: 403,
    exit: 77,
    title: 'The request did not come from this page',
    next: 'Open the page anew and repeat the step there.',
  },

  // The connection
  'not-connected': {
    status: 503,
    exit: 69,
    title: 'The appliance is not connected to GitHub',
    next: 'Run `ghconnect enable --organization ORG`; `ghconnect status` shows the state.',
  },
  'already-connected': {
    status: 409,
    exit: 65,
    title: 'There is a connection already',
    next: 'Run `ghconnect disable` first.',
  },
  'no-enable-pending': {
    status: 409,
    exit: 65,
    title: 'No enable is waiting for this answer',
    next: 'Run `ghconnect enable` again; a link is good for one hour and one use.',
  },
  'enable-in-progress': {
    status: 409,
    exit: 65,
    title: "GitHub was asked for the new App's key and has not answered yet",
    next: 'Wait: it is asked again by itself. To give up and start over, run `ghconnect disable --local`.',
  },
  'code-rejected': {
    status: 422,
    exit: 65,
    title: 'GitHub does not accept the code of the App manifest',
    next: 'A code is good once and for one hour. Delete the new App on GitHub, then run `ghconnect enable` again.',
  },
  'wrong-owner': {
    status: 409,
    exit: 65,
    title: 'The App belongs to another account',
    next: 'Delete the App on GitHub, then enable with the account that is to own it.',
  },
  'invalid-key': {
    status: 422,
    exit: 65,
    title: 'The private key cannot be read',
    next: "Give the PEM file that GitHub's settings page of the App offered for download (RSA, PKCS#1 or PKCS#8).",
  },
  'key-mismatch': {
    status: 422,
    exit: 65,
    title: 'The private key and the App do not belong together',
    next: "Compare App ID (or client ID) and the key's fingerprint with the settings page of the App.",
  },
  'too-many-keys': {
    status: 409,
    exit: 65,
    title: 'Two private keys are held already',
    next: 'Run `ghconnect keys retire`, then add the new key.',
  },
  'last-key': {
    status: 409,
    exit: 65,
    title: 'The last private key is never retired',
    next: 'Run `ghconnect keys add FILE` with a new one first; `ghconnect disable` ends the connection.',
  },
  'key-lost': {
    status: 503,
    exit: 69,
    title: 'GitHub made the App, but its key never reached the disk',
    next: "Generate a new key on the App's settings page and run `ghconnect import`, or delete the App and enable again.",
  },
  quarantined: {
    status: 503,
    exit: 78,
    title: 'The credentials were enabled on another machine',
    next: 'Run `ghconnect adopt` if this machine replaces it, else `ghconnect disable --local`.',
  },

  // The machine
  locked: {
    status: 503,
    exit: 69,
    title: 'The store is locked: its key is unavailable',
    next: 'Provide the store key (systemd credential `store.key` or [store] key_file), or run `ghconnect unlock --identity FILE`.',
  },
  'nothing-locked': {
    status: 409,
    exit: 65,
    title: 'Nothing is locked',
    next: 'See `ghconnect status`. A sealed bundle is restored first: `ghconnect snapshot restore --input FILE`.',
  },
  'wrong-store-key': {
    status: 503,
    exit: 78,
    title: 'The store key does not open this store',
    next: 'Give the key that the store was made with, or run `ghconnect unlock --identity FILE` with the recovery key.',
  },
  'store-corrupt': {
    status: 503,
    exit: 74,
    title: 'The store is damaged',
    next: 'Keep the folder for inspection and restore a snapshot: `ghconnect snapshot restore --input FILE`.',
  },
  'store-newer': {
    status: 503,
    exit: 78,
    title: 'The store was written by a newer version',
    next: 'Install that version again; older code never opens a newer store.',
  },
  'state-in-use': {
    status: 503,
    exit: 69,
    title: 'Another daemon holds the state folder',
    next: 'Stop the process that is named, or use another [paths] state.',
  },
  'socket-in-use': {
    status: 503,
    exit: 69,
    title: 'The socket belongs to a live process',
    next: 'Stop the process that is named, or use another [paths] runtime.',
  },
  'disk-full': {
    status: 507,
    exit: 74,
    title: 'The disk is full',
    next: 'Free some space; nothing was changed. A store that could not be opened is tried again every 15 seconds.',
  },
  io: {
    status: 500,
    exit: 74,
    title: 'Reading or writing failed',
    next: 'See the cause; check mode and owner of the path.',
  },
  'audit-unavailable': {
    status: 503,
    exit: 74,
    title: 'The audit log cannot be written, so nothing is handed out',
    next: 'Free space or fix the state folder; the daemon grants nothing it cannot log.',
  },
  configuration: {
    status: 503,
    exit: 78,
    title: 'The configuration is wrong',
    next: 'Correct the named key, then `ghconnect config check`.',
  },
  'daemon-absent': {
    status: 503,
    exit: 69,
    title: 'The daemon does not answer',
    next: 'Start it: `systemctl start ghconnectd`, or give its socket with --socket.',
  },

  // Snapshots
  'bundle-corrupt': {
    status: 422,
    exit: 65,
    title: 'The bundle is damaged or was changed',
    next: 'Nothing was changed. Take another snapshot; `ghconnect snapshot inspect FILE` tells whether one is whole.',
  },
  'bundle-newer': {
    status: 422,
    exit: 78,
    title: 'The bundle was written by a newer version',
    next: 'Nothing was changed. Install that version or a later one, then restore again.',
  },
  'bundle-wrong-identity': {
    status: 422,
    exit: 78,
    title: 'This recovery key does not match',
    next: 'Give the identity of one of the recipients; `ghconnect snapshot inspect FILE` lists those of a bundle.',
  },
  'bundle-untrusted': {
    status: 409,
    exit: 78,
    title: 'The bundle was signed by an unknown machine, and a connection is alive here',
    next: 'Compare App, account and signer with `ghconnect snapshot inspect FILE`; then name the signer in [snapshot] trusted, or give --force.',
  },
  'bundle-other-github': {
    status: 409,
    exit: 78,
    title: 'The bundle belongs to another GitHub',
    next: 'Nothing was changed. Correct [github] url and api_url in the configuration, or restore again with --force.',
  },
  'bundle-sealed': {
    status: 409,
    exit: 78,
    title: 'The bundle is encrypted, and no identity is at hand',
    next: 'Give the recovery key with --identity FILE; where a sealed bundle was restored, run `ghconnect unlock --identity FILE`.',
  },

  // On the way to GitHub
  'proxy-unreachable': {
    status: 502,
    exit: 69,
    title: 'The web proxy cannot be reached',
    next: 'Start the proxy, or correct [proxy] url and run `systemctl reload ghconnectd`.',
  },
  'proxy-authentication': {
    status: 502,
    exit: 69,
    title: 'Proxy authentication failed',
    next: 'Check the user in [proxy] url. Write the password to [proxy] password_file, or seal it: `systemd-ask-password -n | systemd-creds encrypt --name=proxy.password - /etc/ghconnectd/credentials/proxy.password`. Then run `systemctl restart ghconnectd`.',
  },
  'proxy-auth-scheme': {
    status: 502,
    exit: 69,
    title: 'The web proxy offers no authentication that is supported',
    next: 'Only Basic is supported: have the proxy offer it, or set [proxy] url to a relay such as cntlm or px.',
  },
  'proxy-refused': {
    status: 502,
    exit: 69,
    title: 'The web proxy refuses the way to GitHub',
    next: 'Allow CONNECT to the GitHub hosts on port 443 in the proxy.',
  },
  portal: {
    status: 502,
    exit: 69,
    title: 'Something between here and GitHub intercepted the request',
    next: 'A portal, filter or proxy intercepts the connection; let the GitHub hosts pass.',
  },
  dns: {
    status: 502,
    exit: 69,
    title: 'The name of the GitHub host cannot be resolved',
    next: 'Correct the nameserver in /etc/resolv.conf.',
  },
  tls: {
    status: 502,
    exit: 69,
    title: 'The TLS certificate on the way to GitHub is not trusted',
    next: 'If your company inspects TLS, name the file of its CA certificate in [proxy] ca_file and run `systemctl reload ghconnectd`. If not, find out who intercepts the connection.',
  },
  unreachable: {
    status: 502,
    exit: 75,
    title: 'GitHub cannot be reached',
    next: 'Check route and firewall; it is tried again by itself.',
  },
  timeout: { status: 504, exit: 75, title: 'GitHub did not answer in time', next: 'It is tried again by itself.' },
  'github-outage': {
    status: 502,
    exit: 75,
    title: 'GitHub has an outage',
    next: 'See www.githubstatus.com; it is tried again by itself.',
  },
  'github-unexpected': {
    status: 502,
    exit: 70,
    title: 'GitHub gave an answer that makes no sense here',
    next: 'See the detail; report it if it stays.',
  },
  'scope-mismatch': {
    status: 502,
    exit: 70,
    title: 'GitHub granted another scope than the one asked for',
    next: 'The token was revoked and is not served. Check the permissions of the App.',
  },

  // The cluster
  'cluster-unreachable': {
    status: 503,
    exit: 75,
    title: 'The etcd of the cluster cannot be reached',
    next: 'Check [cluster] endpoints, and that most members of etcd run; this node goes on with what it has and tries again by itself.',
  },
  'cluster-refused': {
    status: 503,
    exit: 78,
    title: 'The etcd of the cluster turns this node away',
    next: "Check certificate, user and password under [cluster], and the role's permission for the prefix of the cluster.",
  },
  'cluster-conflict': {
    status: 409,
    exit: 75,
    title: 'Another node changed the connection meanwhile',
    next: 'Look at `ghconnect status`: it shows what holds now. Then decide anew.',
  },
  'cluster-secret': {
    status: 503,
    exit: 78,
    title: 'What the cluster holds cannot be opened',
    next: 'Give this node the same cluster secret as the others, then restart it.',
  },
  'cluster-behind': {
    status: 503,
    exit: 69,
    title: 'What the cluster holds cannot be taken over by this node',
    next: 'Mend what is named; it is tried again by itself. Until then nothing is changed from here, and after 24 hours nothing is served.',
  },
  'cluster-member': {
    status: 409,
    exit: 65,
    title: 'This node and the cluster do not fit together',
    next: 'See `ghconnect cluster status`; `cluster join` and `cluster leave` change it.',
  },
  isolated: {
    status: 503,
    exit: 69,
    title: 'This node was cut off from its cluster for too long',
    next: 'Mend the way to etcd, or what else `ghconnect cluster status` names; nothing is served until this node holds what the cluster does.',
  },
  replica: {
    status: 503,
    exit: 69,
    title: 'This node is a replica and calls nobody',
    next: 'Ask a node of the primary, or run `ghconnect cluster promote` on this one.',
  },

  // What GitHub says
  'clock-skew': {
    status: 502,
    exit: 75,
    title: "This machine's clock disagrees with GitHub's",
    next: "Set the clock: `timedatectl set-ntp true`. If no time server can be reached, run `timedatectl set-ntp false`, then `timedatectl set-time 'YYYY-MM-DD hh:mm:ss UTC'`. The daemon uses GitHub's time meanwhile.",
  },
  'key-rejected': {
    status: 502,
    exit: 69,
    title: 'GitHub rejects the private key of the App',
    next: 'Generate a key on the settings page of the App and run `ghconnect keys add FILE`.',
  },
  'app-not-found': {
    status: 502,
    exit: 69,
    title: 'GitHub does not know the App',
    next: 'If the App was deleted, run `ghconnect disable --local`, then enable again.',
  },
  'installation-not-found': {
    status: 404,
    exit: 69,
    title: 'The App is not installed there',
    next: 'Install the App on the account; `ghconnect status` prints the address.',
  },
  suspended: {
    status: 502,
    exit: 69,
    title: 'The installation is suspended',
    next: "Unsuspend it in the account's settings, under GitHub Apps.",
  },
  'ip-blocked': {
    status: 502,
    exit: 69,
    title: "The account's IP allow list does not admit this machine",
    next: "Add this machine's egress address to the IP allow list of the account.",
  },
  'account-policy': {
    status: 502,
    exit: 69,
    title: 'A policy of the account keeps the App out',
    next: 'Let an owner of the account look at its policies on Apps and at its single sign-on; the detail bears what GitHub said.',
  },
  'permission-not-granted': {
    status: 422,
    exit: 77,
    title: 'The App was not granted these permissions',
    next: 'Ask for less, or let the owner approve the permission in the settings of the App.',
  },
  'repository-not-accessible': {
    status: 422,
    exit: 77,
    title: 'A repository is not part of the installation',
    next: 'Check the name, or add the repository to the installation.',
  },
  'bad-credentials': {
    status: 502,
    exit: 75,
    title: 'GitHub refuses the token',
    next: 'A new one is minted; ask again.',
  },
  forbidden: {
    status: 403,
    exit: 77,
    title: 'GitHub forbids this to the App',
    next: 'See the detail for the permission it names.',
  },
  quota: {
    status: 429,
    exit: 75,
    title: 'The rate limit of GitHub is used up',
    next: 'It is tried again when the limit resets.',
  },

  internal: { status: 500, exit: 70, title: 'Internal error', next: 'See the journal, and report it.' },
} as const satisfies Record<string, Entry>

export type Code = keyof typeof CATALOGUE

/** The one error that crosses rooms. `detail` is a sentence for a person, without any secret. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly code: Code
  /** Seconds after which another try makes sense, where the cause says so. */
  readonly retryAfterSeconds: number | undefined
  /** What to do: the catalogue's advice, unless this one problem has a better one. */
  readonly next: string

  constructor(
    code: Code,
    detail: string,
    options: { cause?: unknown; retryAfterSeconds?: number; next?: string | undefined } = {},
  ) {
    const { stackTraceLimit } = Error
    // Where it was thrown is of interest for what nobody foresaw. For a refused request it would be a tenth of the work.
    if (code !== 'internal') Error.stackTraceLimit = 0
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.retryAfterSeconds = options.retryAfterSeconds
    this.next = options.next ?? CATALOGUE[code].next
  }

  get entry(): (typeof CATALOGUE)[Code] {
    return CATALOGUE[this.code]
  }
}

/** RFC 9457. `next` is our extension member: what to do about it. */
export type Problem = {
  type: string
  title: string
  status: number
  detail: string
  next: string
  instance?: string
}

export const PROBLEM_PREFIX = 'urn:ghconnect:problem:'

export const toProblem = (failure: Failure, instance?: string): Problem => ({
  type: PROBLEM_PREFIX + failure.code,
  title: failure.entry.title,
  status: failure.entry.status,
  detail: failure.message,
  next: failure.next,
  ...(instance === undefined ? {} : { instance }),
})

export const isCode = (text: string): text is Code => Object.hasOwn(CATALOGUE, text)

/** Whatever was thrown, as a Failure: our own passes through, errors of the disk are named, the rest is `internal`. */
export const asFailure = (thrown: unknown): Failure => {
  if (thrown instanceof Failure) return thrown
  const errno = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  const message = thrown instanceof Error ? thrown.message : String(errno)
  const path = thrown instanceof Error && 'path' in thrown ? String(thrown.path) : ''
  const where = path === '' || message.includes(path) ? '' : `${path}: `
  if (errno === 'ENOSPC' || errno === 'EDQUOT' || errno === 'SQLITE_FULL') {
    const what = errno === 'EDQUOT' ? "this user's disk quota is used up" : 'no space left on the device'
    return new Failure('disk-full', `${path === '' ? '' : `${path}: `}${what}`, { cause: thrown })
  }
  if (errno === 'SQLITE_CORRUPT' || errno === 'SQLITE_NOTADB') {
    return new Failure('store-corrupt', 'a page of the store fails its check', { cause: thrown })
  }
  if (typeof errno === 'string' && (errno.startsWith('SQLITE_IOERR') || IO_ERRORS.has(errno))) {
    return new Failure('io', `${where}${message}`, { cause: thrown })
  }
  return new Failure('internal', 'unexpected error', { cause: thrown })
}

const IO_ERRORS = new Set([
  'EIO',
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOENT',
  'ENOTDIR',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
  'EISDIR',
  'EMFILE',
  'ENFILE',
  'EBUSY',
  'EXDEV',
  'ETXTBSY',
  'ESTALE',
  'ENXIO',
  'SQLITE_READONLY',
  'SQLITE_CANTOPEN',
])
