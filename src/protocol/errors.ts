// Everything that can go wrong, once: its code, HTTP status, exit code, title and what to do next.

/** Of sysexits.h. */
export type Exit = 64 | 65 | 69 | 70 | 74 | 75 | 77 | 78

/**
 * A row each: HTTP status and exit code | title | what to do next. A code is stable: it is the `type` of a problem (RFC 9457) as
 * `urn:ghconnect:problem:CODE`. A test keeps README and OpenAPI document in step with it.
 */
const ROWS = {
  // What the caller did
  usage: '400 64 | Wrong usage | See --help of the command.',
  'invalid-request':
    '400 65 | The request is malformed | Correct the named field; GET /v1/openapi.json describes each request.',
  'body-too-large': '413 65 | The request body is too large | Send less.',
  'unknown-route': '404 64 | There is no such route | GET /v1/openapi.json lists the routes of this socket.',
  'browser-refused':
    '403 77 | Requests that come from a browser are refused | Call the socket directly, with Host: localhost and without Origin or Referer.',
  'not-permitted':
    '403 77 | Not permitted | Ask an administrator for a profile; `sudo ghconnect explain` shows them who would get what.',
  'peer-gone':
    '403 77 | The calling process cannot be identified | Ask again from a process that stays alive until it has its answer.',
  'profile-required': '400 64 | Several profiles would allow this | Name one of them with `profile`.',
  'installation-required': '400 64 | The App has several installations | Name one with `installation`.',
  'repositories-required':
    '400 64 | The profile has patterns for repositories | Name the repositories with `repositories`.',
  'rate-limited': '429 75 | Too many requests from this process | Wait, then ask again.',
  'too-many-streams': '429 75 | Too many event streams of this user | Close one, or poll instead.',
  'signed-out': '401 77 | Nobody is signed in to the page | Run `ghconnect ui` on this machine for a new link.',
  'cross-site': '403 77 | The request did not come from this page | Open the page anew and repeat the step there.',
  // The connection
  'not-connected':
    '503 69 | The appliance is not connected to GitHub | Run `ghconnect enable --organization ORG`; `ghconnect status` shows the state.',
  'already-connected': '409 65 | There is a connection already | Run `ghconnect disable` first.',
  'no-enable-pending':
    '409 65 | No enable is waiting for this answer | Run `ghconnect enable` again; a link is good for one hour and one use.',
  'enable-in-progress':
    "409 65 | GitHub was asked for the new App's key and has not answered yet | Wait: it is asked again by itself. To give up and start over, run `ghconnect disable --local`.",
  'code-rejected':
    '422 65 | GitHub does not accept the code of the App manifest | A code is good once and for one hour. Delete the new App on GitHub, then run `ghconnect enable` again.',
  'wrong-owner':
    '409 65 | The App belongs to another account | Delete the App on GitHub, then enable with the account that is to own it.',
  'invalid-key':
    "422 65 | The private key cannot be read | Give the PEM file that GitHub's settings page of the App offered for download (RSA, PKCS#1 or PKCS#8).",
  'key-mismatch':
    "422 65 | The private key and the App do not belong together | Compare App ID (or client ID) and the key's fingerprint with the settings page of the App.",
  'too-many-keys': '409 65 | Two private keys are held already | Run `ghconnect keys retire`, then add the new key.',
  'last-key':
    '409 65 | The last private key is never retired | Run `ghconnect keys add FILE` with a new one first; `ghconnect disable` ends the connection.',
  'key-lost':
    "503 69 | GitHub made the App, but its key never reached the disk | Generate a new key on the App's settings page and run `ghconnect import`, or delete the App and enable again.",
  quarantined:
    '503 78 | The credentials were enabled on another machine | Run `ghconnect adopt` if this machine replaces it, else `ghconnect disable --local`.',
  // The machine
  locked:
    '503 69 | The store is locked: its key is unavailable | Provide the store key (systemd credential `store.key` or [store] key_file), or run `ghconnect unlock --identity FILE`.',
  'nothing-locked':
    '409 65 | Nothing is locked | See `ghconnect status`. A sealed bundle is restored first: `ghconnect snapshot restore --input FILE`.',
  'wrong-store-key':
    '503 78 | The store key does not open this store | Give the key that the store was made with, or run `ghconnect unlock --identity FILE` with the recovery key.',
  'store-corrupt':
    '503 74 | The store is damaged | Keep the folder for inspection and restore a snapshot: `ghconnect snapshot restore --input FILE`.',
  'store-newer':
    '503 78 | The store was written by a newer version | Install that version again; older code never opens a newer store.',
  'state-in-use':
    '503 69 | Another daemon holds the state folder | Stop the process that is named, or use another [paths] state.',
  'socket-in-use':
    '503 69 | The socket belongs to a live process | Stop the process that is named, or use another [paths] runtime.',
  'disk-full':
    '507 74 | The disk is full | Free some space; nothing was changed. A store that could not be opened is tried again every 15 seconds.',
  io: '500 74 | Reading or writing failed | See the cause; check mode and owner of the path.',
  'audit-unavailable':
    '503 74 | The audit log cannot be written, so nothing is handed out | Free space or fix the state folder; the daemon grants nothing it cannot log.',
  configuration: '503 78 | The configuration is wrong | Correct the named key, then `ghconnect config check`.',
  'daemon-absent':
    '503 69 | The daemon does not answer | Start it: `systemctl start ghconnectd`, or give its socket with --socket.',
  // Snapshots
  'bundle-corrupt':
    '422 65 | The bundle is damaged or was changed | Nothing was changed. Take another snapshot; `ghconnect snapshot inspect FILE` tells whether one is whole.',
  'bundle-newer':
    '422 78 | The bundle was written by a newer version | Nothing was changed. Install that version or a later one, then restore again.',
  'bundle-wrong-identity':
    '422 78 | This recovery key does not match | Give the identity of one of the recipients; `ghconnect snapshot inspect FILE` lists those of a bundle.',
  'bundle-untrusted':
    '409 78 | The bundle was signed by an unknown machine, and a connection is alive here | Compare App, account and signer with `ghconnect snapshot inspect FILE`; then name the signer in [snapshot] trusted, or give --force.',
  'bundle-other-github':
    '409 78 | The bundle belongs to another GitHub | Nothing was changed. Correct [github] url and api_url in the configuration, or restore again with --force.',
  'bundle-sealed':
    '409 78 | The bundle is encrypted, and no identity is at hand | Give the recovery key with --identity FILE; where a sealed bundle was restored, run `ghconnect unlock --identity FILE`.',
  // On the way to GitHub
  'proxy-unreachable':
    '502 69 | The web proxy cannot be reached | Start the proxy, or correct [proxy] url and run `systemctl reload ghconnectd`.',
  'proxy-authentication':
    '502 69 | Proxy authentication failed | Check the user in [proxy] url. Write the password to [proxy] password_file, or seal it: `systemd-ask-password -n | systemd-creds encrypt --name=proxy.password - /etc/ghconnectd/credentials/proxy.password`. Then run `systemctl restart ghconnectd`.',
  'proxy-auth-scheme':
    '502 69 | The web proxy offers no authentication that is supported | Only Basic is supported: have the proxy offer it, or set [proxy] url to a relay such as cntlm or px.',
  'proxy-refused':
    '502 69 | The web proxy refuses the way to GitHub | Allow CONNECT to the GitHub hosts on port 443 in the proxy.',
  portal:
    '502 69 | Something between here and GitHub intercepted the request | A portal, filter or proxy intercepts the connection; let the GitHub hosts pass.',
  dns: '502 69 | The name of the GitHub host cannot be resolved | Correct the nameserver in /etc/resolv.conf.',
  tls: '502 69 | The TLS certificate on the way to GitHub is not trusted | If your company inspects TLS, name the file of its CA certificate in [proxy] ca_file and run `systemctl reload ghconnectd`. If not, find out who intercepts the connection.',
  unreachable: '502 75 | GitHub cannot be reached | Check route and firewall; it is tried again by itself.',
  timeout: '504 75 | GitHub did not answer in time | It is tried again by itself.',
  'github-outage': '502 75 | GitHub has an outage | See www.githubstatus.com; it is tried again by itself.',
  'github-unexpected':
    '502 70 | GitHub gave an answer that makes no sense here | See the detail; report it if it stays.',
  'scope-mismatch':
    '502 70 | GitHub granted another scope than the one asked for | The token was revoked and is not served. Check the permissions of the App.',
  // The cluster
  'cluster-unreachable':
    '503 75 | The etcd of the cluster cannot be reached | Check [cluster] endpoints, and that most members of etcd run; this node goes on with what it has and tries again by itself.',
  'cluster-refused':
    "503 78 | The etcd of the cluster turns this node away | Check certificate, user and password under [cluster], and the role's permission for the prefix of the cluster.",
  'cluster-conflict':
    '409 75 | Another node changed the connection meanwhile | Look at `ghconnect status`: it shows what holds now. Then decide anew.',
  'cluster-secret':
    '503 78 | What the cluster holds cannot be opened | Give this node the same cluster secret as the others, then restart it.',
  'cluster-behind':
    '503 69 | What the cluster holds cannot be taken over by this node | Mend what is named; it is tried again by itself. Until then nothing is changed from here, and after 24 hours nothing is served.',
  'cluster-member':
    '409 65 | This node and the cluster do not fit together | See `ghconnect cluster status`; `cluster join` and `cluster leave` change it.',
  isolated:
    '503 69 | This node was cut off from its cluster for too long | Mend the way to etcd, or what else `ghconnect cluster status` names; nothing is served until this node holds what the cluster does.',
  replica:
    '503 69 | This node is a replica and calls nobody | Ask a node of the primary, or run `ghconnect cluster promote` on this one.',
  // What GitHub says
  'clock-skew':
    "502 75 | This machine's clock disagrees with GitHub's | Set the clock: `timedatectl set-ntp true`. If no time server can be reached, run `timedatectl set-ntp false`, then `timedatectl set-time 'YYYY-MM-DD hh:mm:ss UTC'`. The daemon uses GitHub's time meanwhile.",
  'key-rejected':
    '502 69 | GitHub rejects the private key of the App | Generate a key on the settings page of the App and run `ghconnect keys add FILE`.',
  'app-not-found':
    '502 69 | GitHub does not know the App | If the App was deleted, run `ghconnect disable --local`, then enable again.',
  'installation-not-found':
    '404 69 | The App is not installed there | Install the App on the account; `ghconnect status` prints the address.',
  suspended: "502 69 | The installation is suspended | Unsuspend it in the account's settings, under GitHub Apps.",
  'ip-blocked':
    "502 69 | The account's IP allow list does not admit this machine | Add this machine's egress address to the IP allow list of the account.",
  'account-policy':
    '502 69 | A policy of the account keeps the App out | Let an owner of the account look at its policies on Apps and at its single sign-on; the detail bears what GitHub said.',
  'permission-not-granted':
    '422 77 | The App was not granted these permissions | Ask for less, or let the owner approve the permission in the settings of the App.',
  'repository-not-accessible':
    '422 77 | A repository is not part of the installation | Check the name, or add the repository to the installation.',
  'bad-credentials': '502 75 | GitHub refuses the token | A new one is minted; ask again.',
  forbidden: '403 77 | GitHub forbids this to the App | See the detail for the permission it names.',
  quota: '429 75 | The rate limit of GitHub is used up | It is tried again when the limit resets.',
  internal: '500 70 | Internal error | See the journal, and report it.',
} as const satisfies Record<string, `${number} ${Exit} | ${string} | ${string}`>

export type Code = keyof typeof ROWS

export const isCode = (text: string): text is Code => Object.hasOwn(ROWS, text)

type StatusIn<Row> = Row extends `${infer S extends number} ${string}` ? S : never
export type Entry = {
  readonly status: StatusIn<(typeof ROWS)[Code]>
  readonly exit: Exit
  readonly title: string
  readonly next: string
}

const readRow = (row: string): Entry => {
  const [, status, exit, title, next] = /^(\d+) (\d+) \| ([^|]+) \| (.+)$/.exec(row) ?? []
  return { status: Number(status), exit: Number(exit), title, next } as Entry
}

/** The rows as the rest of the program reads them, in their order. */
export const CATALOGUE = Object.fromEntries(
  Object.entries(ROWS).map(([code, row]) => [code, readRow(row)]),
) as Readonly<Record<Code, Entry>>

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

  get entry(): Entry {
    return CATALOGUE[this.code]
  }
}

export const PROBLEM_PREFIX = 'urn:ghconnect:problem:'

/** RFC 9457. `next` is our extension member: what to do about it. */
export const toProblem = (failure: Failure, instance?: string) => ({
  type: PROBLEM_PREFIX + failure.code,
  title: failure.entry.title,
  status: failure.entry.status,
  detail: failure.message,
  next: failure.next,
  ...(instance === undefined ? {} : { instance }),
})

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

const IO_ERRORS = new Set(
  (
    'EIO EACCES EPERM EROFS ENOENT ENOTDIR EEXIST ELOOP ENAMETOOLONG EISDIR EMFILE ENFILE EBUSY EXDEV ETXTBSY ESTALE ENXIO ' +
    'SQLITE_READONLY SQLITE_CANTOPEN'
  ).split(' '),
)
