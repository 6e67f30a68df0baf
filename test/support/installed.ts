// The package on a booted machine, connected to a sandbox that runs there, too: where the tests of the service begin.

import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { bootMachine, type Machine, SOURCES } from './booted.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const SANDBOX = 'http://127.0.0.1:8471'

/** Booting needs root. Without it these tests are left out, but never where CI says that everything is to be run. */
export const canBoot = process.getuid?.() === 0 || process.env['CI'] === 'true'
export const bootedTest = canBoot ? test.serial : test.serial.skip

/** In the repository, so that it is seen inside the machine. */
const PACKAGES = join(ROOT, '.state', 'packages')

/** Resolves to the path of the package. Each test file has a folder of its own, as it runs beside others. */
export const buildPackage = async (folder: string, ...args: readonly string[]): Promise<string> => {
  const output = join(PACKAGES, folder)
  mkdirSync(output, { recursive: true })
  const { stdout } = await promisify(execFile)(join(ROOT, 'scripts/build-deb'), ['--output', output, ...args])
  return resolve(ROOT, stdout.trim())
}

export const CONFIG = `
[github]
url = "${SANDBOX}"
api_url = "${SANDBOX}/api/v3"
[appliance]
hostname = "appliance.test"
[app]
permissions = { metadata = "read", contents = "read", issues = "write" }
[[profiles]]
name = "readers"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["alice"] }
`

export type Installed = Machine & {
  readonly name: string
  install(packagePath: string): Promise<string>
  configure(toml: string): Promise<void>
  startSandbox(): Promise<void>
  /** The whole way: link, App, installation. */
  enable(): Promise<void>
  /** One call on admin.sock, as root. */
  call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>
  until(state: string): Promise<void>
  property(name: string, unit?: string): Promise<string>
  /** As alice, whom the policy knows. */
  token(): Promise<string>
}

/** A machine with the users alice (known to the policy) and mallory, and without a Node or npm of its own. */
export const createInstalled = async (name: string): Promise<Installed> => {
  const machine = await bootMachine(`${name}-${process.pid}`)
  await machine.run(`useradd -m alice; useradd -m mallory
    for tool in node nodejs npm npx; do while found=$(type -P $tool); do rm -f "$found"; done; done`)
  const call = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown>> => {
    const sent = body === undefined ? '' : `-H 'content-type: application/json' -d '${JSON.stringify(body)}'`
    return JSON.parse(
      await machine.run(
        `curl -sS --max-time 20 --unix-socket /run/ghconnectd/admin.sock -X ${method} ${sent} http://localhost${path}`,
      ),
    )
  }
  const until = async (state: string): Promise<void> => {
    for (let tries = 0; tries < 100; tries++) {
      if ((await call('GET', '/v1/status'))['state'] === state) return
      await new Promise(pause => setTimeout(pause, 50))
    }
    throw new Error(`the state never became ${state}: ${JSON.stringify(await call('GET', '/v1/status'))}`)
  }
  return {
    ...machine,
    name,
    call,
    until,
    install: path =>
      machine.run(
        `DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${join(SOURCES, relative(ROOT, path))} 2>&1`,
      ),
    configure: async toml => void (await machine.run(`cat >/etc/ghconnectd/config.toml <<'TOML'\n${toml}\nTOML`)),
    async startSandbox() {
      await machine.run(`systemd-run --quiet --unit=sandbox ghconnect sandbox --listen ${SANDBOX.slice('http://'.length)}
        for try in $(seq 100); do curl -sf -o /dev/null ${SANDBOX}/_sandbox/state && exit; sleep 0.05; done; exit 1`)
    },
    async enable() {
      const begun = await call('POST', '/v1/connection', { account: { type: 'organization', login: 'octo-org' } })
      const owner = `import { actAsOwner } from '${SOURCES}/src/sandbox/owner.ts'
        await actAsOwner({ formUrl: '${String(begun['url'])}', account: 'octo-org' })`
      await machine.run(`/usr/lib/ghconnectd/node --input-type=module -e "${owner}"`)
      await until('connected')
    },
    property: (property, unit = 'ghconnectd.service') =>
      machine.run(`systemctl show --property=${property} --value ${unit}`),
    async token() {
      const { code, stdout, stderr } = await machine.attemptAs('alice', 'ghconnect token')
      if (code !== 0) throw new Error(`no token: ${code} ${stderr}`)
      return stdout.trim()
    },
  }
}

export type Served = {
  readonly answered: number
  readonly retried: number
  readonly failed: number
  readonly slowestMs: number
  readonly failures: readonly string[]
}

/** Alice's steady client, until what is returned is called. */
export const keepAsking = async (machine: Machine): Promise<() => Promise<Served>> => {
  await machine.run(`cp /usr/lib/ghconnectd/node /tmp/client-node; cp ${SOURCES}/test/support/steady-client.ts /tmp/`)
  const client = machine.start(
    'exec runuser -u alice -- /tmp/client-node --disable-warning=ExperimentalWarning /tmp/steady-client.ts',
  )
  let text = ''
  client.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const closed = new Promise<void>(done => client.once('close', () => done()))
  return async () => {
    client.stdin?.end()
    await closed
    return JSON.parse(text)
  }
}
