// README's section for a real server, typed line by line on a pristine Debian, behind a proxy with a password: it ends with a token.
// With a fault in its way it ends with advice, and the advice, typed, leads to the token.

import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { PROXY_PASSWORD } from '../support/far-side.ts'
import { bootedTest, canBoot } from '../support/installed.ts'
import { isNight } from '../support/night.ts'
import type { Reaction, Typed } from '../support/terminal.ts'
import { startWalk, STEPS, type Step, type Walk } from '../support/walk.ts'

const cleanup = new AsyncDisposableStack()
let walk: Walk

test.before(async () => {
  if (canBoot) walk = await startWalk('walk', cleanup)
})
test.afterEach.always(async t => {
  if (t.passed || !walk) return
  t.log(walk.terminal.screen().slice(-2500))
  t.log((await walk.machine.attempt("journalctl --no-pager -o cat -n 25 -u 'ghconnectd*'")).stdout)
})
test.after.always(() => cleanup.disposeAsync())

const TOKEN = /^ghs_\w+$/

/** Takes these steps; returns the first that failed, or undefined. */
const takeAll = async (
  steps: readonly Step[],
  reactions: readonly Reaction[] = [],
): Promise<{ step: Step; typed: Typed } | undefined> => {
  for (const step of steps) {
    const typed = await walk.take(step, ...reactions)
    if (typed.code !== 0) return { step, typed }
  }
  return undefined
}

const endsWithToken = async (t: ExecutionContext): Promise<void> => {
  const { code, output } = await walk.take('token')
  t.is(code, 0, output)
  t.regex(output, TOKEN)
}

/** The commands that an advice names. */
const commandsIn = (advice: string): string[] => [...advice.matchAll(/`([^`]+)`/g)].map(([, command = '']) => command)

const type = async (t: ExecutionContext, command: string, ...reactions: Reaction[]): Promise<string> => {
  const { code, output } = await walk.terminal.type(command, ...reactions)
  t.is(code, 0, `${command}: ${output}`)
  return output
}

bootedTest('README’s section for a real server, typed on a pristine Debian, ends with a token', async t => {
  for (const step of STEPS.slice(0, -1)) {
    const { code, output } = await walk.take(step)
    t.is(code, 0, `${step}: ${output}`)
  }
  await endsWithToken(t)
})

type Fault = {
  readonly name: string
  /** Before the first step after the installation. */
  plant(): Promise<unknown>
  /** What is typed in other words than the walk's. */
  readonly reactions?: readonly Reaction[]
  /** The step that it stops. */
  readonly stops: Step
  readonly advice: string
  /** Types the advice. `commands`: those in it. */
  follow(t: ExecutionContext, commands: readonly string[]): Promise<unknown>
  /** Its advice is held by shorter tests of the proxy too. */
  readonly isLong?: boolean
  /** What is left of the fault for the next walk. */
  remedy?(): Promise<unknown>
}

const rightPassword: Reaction = [/Password:/, () => PROXY_PASSWORD]

const FAULTS: readonly Fault[] = [
  {
    name: 'wrong proxy password',
    plant: async () => undefined,
    reactions: [[/Password of the proxy:/, () => 'not it']],
    stops: 'enable',
    advice:
      'Check the user in [proxy] url. Write the password to [proxy] password_file, or seal it: `systemd-ask-password -n | systemd-creds encrypt --name=proxy.password - /etc/ghconnectd/credentials/proxy.password`. Then run `systemctl restart ghconnectd`.',
    async follow(t, commands) {
      t.is(commands.length, 2)
      for (const command of commands) await type(t, command, rightPassword)
    },
  },
  {
    name: 'proxy down',
    isLong: true,
    plant: () => walk.far.proxy.stop(),
    stops: 'enable',
    advice: 'Start the proxy, or correct [proxy] url and run `systemctl reload ghconnectd`.',
    follow: () => walk.far.proxy.start(),
  },
  {
    name: 'DNS dead',
    isLong: true,
    plant: () => walk.machine.run('echo nameserver 127.0.0.1 >/etc/resolv.conf'),
    stops: 'enable',
    advice: 'Check [proxy] url, and the DNS of this machine (/etc/resolv.conf).',
    follow: t => type(t, `echo nameserver ${walk.far.network.outside.address} >/etc/resolv.conf`),
  },
  {
    name: 'TLS intercepted',
    isLong: true,
    plant: () => walk.far.present(walk.far.inspection),
    stops: 'enable',
    advice:
      'If your company inspects TLS, name the file of its CA certificate in [proxy] ca_file and run `systemctl reload ghconnectd`. If not, find out who intercepts the connection.',
    async follow(t, [reload = '']) {
      await type(t, `cat >/etc/ghconnectd/inspection.pem <<'END'\n${walk.far.inspection.ca.trim()}\nEND`)
      await type(t, `sed -i '/^\\[proxy\\]/a ca_file = "/etc/ghconnectd/inspection.pem"' /etc/ghconnectd/config.toml`)
      await type(t, reload)
    },
    remedy: () => walk.far.present(walk.far.authority),
  },
  {
    name: 'key file unreadable',
    plant: () =>
      walk.machine.run(`(umask 077; head -c 32 /dev/urandom >/etc/ghconnectd/store.key)
        printf '[store]\\nkey_file = "/etc/ghconnectd/store.key"\\n' >>/etc/ghconnectd/config.toml`),
    stops: 'profile',
    advice:
      'store.key_file: /etc/ghconnectd/store.key cannot be read by ghconnectd (owner root:root, mode 0600); run: chown ghconnectd: /etc/ghconnectd/store.key && chmod 0600 /etc/ghconnectd/store.key',
    follow: t => type(t, 'chown ghconnectd: /etc/ghconnectd/store.key && chmod 0600 /etc/ghconnectd/store.key'),
  },
  {
    name: 'port of the page taken',
    plant: () =>
      walk.machine.run(`systemctl stop ghconnectd ghconnectd-web.socket
        systemd-run --quiet --unit=squatter perl -MIO::Socket::INET -e '@held = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8470", Listen => 1); sleep'
        for try in $(seq 100); do ss -ltn | grep -q :8470 && exit; sleep 0.05; done; exit 1`),
    stops: 'enable',
    advice:
      "Stop the process that listens on 127.0.0.1:8470 (`ss -ltnp 'sport = :8470'` names it), then run `systemctl stop ghconnectd && systemctl restart ghconnectd-web.socket && systemctl start ghconnectd`.",
    async follow(t, [find = '', restart = '']) {
      t.regex(await type(t, find), /perl/)
      await type(t, 'systemctl stop squatter')
      await type(t, restart)
    },
  },
]

for (const { name, plant, reactions, stops, advice, follow, remedy } of FAULTS.filter(one => isNight || !one.isLong)) {
  bootedTest(`the walk with a fault, ${name}: the advice, typed, leads to a token`, async t => {
    await walk.startOver()
    await plant()
    const rest = STEPS.slice(1, -1)
    const met = await takeAll(rest, reactions)
    t.is(met?.step, stops, met?.typed.output)
    const said = met?.typed.output ?? ''
    t.true(said.includes(advice), said)
    await follow(t, commandsIn(said.slice(said.indexOf(advice))))
    const again = await walk.retake()
    t.is(again.code, 0, again.output)
    const left = await takeAll(rest.slice(rest.indexOf(stops) + 1))
    t.is(left, undefined, left?.typed.output)
    await endsWithToken(t)
    await remedy?.()
  })
}

bootedTest('the walk with the sealed key lost: the advice, typed, leads to a token', async t => {
  await walk.startOver()
  t.is((await takeAll(STEPS.slice(1, -1)))?.typed.output, undefined)
  const recoveryKey =
    walk.terminal
      .screen()
      .match(/AGE-SECRET-KEY-\w+/g)
      ?.at(-1) ?? ''
  await walk.machine.run('rm /etc/ghconnectd/credentials/store.key; systemctl restart ghconnectd')
  const { code, output } = await walk.take('token')
  t.is(code, 69)
  t.true(output.includes('run `ghconnect unlock --identity FILE`'), output)
  await type(t, `cat >recovery-key.txt <<'END'\n${recoveryKey}\nEND`)
  await type(t, 'ghconnect unlock --identity recovery-key.txt')
  await endsWithToken(t)
})

bootedTest('a new store key, typed on that server: the service goes on, and the old key opens nothing', async t => {
  await walk.startOver()
  const since = await walk.machine.run('date +@%s')
  t.is((await takeAll(STEPS.slice(1, -1)))?.typed.output, undefined)
  const sealed = '/etc/ghconnectd/credentials/store.key'
  await walk.machine.run(`cp ${sealed} /root/old.key`)
  t.is(
    await type(t, 'ghconnect store-key rotate'),
    `Stopping the daemon.
A new store key is in ${sealed}; the old one was overwritten.
Copies of the old key open copies of the old store: delete them, too.`,
  )
  await endsWithToken(t)
  t.is(await walk.machine.run(`cmp -s ${sealed} /root/old.key || stat -c '%U:%G %a' ${sealed}`), 'root:root 644')
  t.regex(await type(t, `ghconnect audit verify --since ${since}`), /^Compared with the journal: \d\d rows$/m)
  await walk.machine.run(`cp ${sealed} /root/new.key; mv /root/old.key ${sealed}; systemctl restart ghconnectd`)
  t.regex(await type(t, 'ghconnect status'), /^State +locked /)
  await walk.machine.run(`mv /root/new.key ${sealed}; systemctl restart ghconnectd`)
  await endsWithToken(t)
})

const FULL =
  'Free some space: `df -h /var/lib/ghconnectd` shows the file system. Nothing was changed. A store that could not be opened is tried again every 15 seconds.'
const FILLER = '/var/lib/ghconnectd/filler'

bootedTest(
  'the walk with a full disk: status and check say so in any state, and the advice, typed, leads to a token',
  async t => {
    const fill = (): Promise<unknown> => walk.machine.attempt(`dd if=/dev/zero of=${FILLER} bs=4k`)
    const saysFull = async (): Promise<void> => {
      const status = await type(t, 'ghconnect status')
      t.true(status.includes(`Next step  ${FULL}\n`), status)
      const check = await walk.terminal.type('ghconnect check')
      t.is(check.code, 74, check.output)
      t.regex(check.output, /^FAILED +store +.*no space is left for \/var\/lib\/ghconnectd\/audit\.db/m)
      t.true(check.output.includes(`→ ${FULL}\n`), check.output)
    }
    /** Types the advice; what takes the space is for the administrator to see. */
    const followAdvice = async (said: string): Promise<void> => {
      t.true(said.includes(FULL), said)
      const [look = ''] = commandsIn(FULL)
      t.regex(await type(t, look), / 0 +100% /)
      await type(t, `rm ${FILLER}`)
    }
    await walk.startOver({ stateSize: '16m' })
    await fill()
    const met = await takeAll(STEPS.slice(1, -1))
    t.is(met?.step, 'enable', met?.typed.output)
    t.is(met?.typed.code, 74)
    await saysFull()
    await followAdvice(met?.typed.output ?? '')
    t.is((await walk.retake()).code, 0)
    await endsWithToken(t)
    // And while it is connected.
    await fill()
    const { code, output } = await walk.take('token')
    t.is(code, 74, output)
    await saysFull()
    await followAdvice(output)
    await endsWithToken(t)
    t.notRegex(await type(t, 'ghconnect status'), /disk-full|audit-unavailable|df -h/)
    t.notRegex(await type(t, 'ghconnect check'), /FAILED/)
  },
)

// A container's clock is its host's, which nothing in it may set: systemd-timesyncd does not start there (ConditionVirtualization=!container).
// So GitHub's clock is moved, which is the same to the daemon, and moved back once the advice is typed.
bootedTest(
  'the walk with the clock two hours off: it leads to a token, with the advice to set the clock, which is right afterwards',
  async t => {
    await walk.startOver()
    walk.far.control('POST', '/clock', { offset_ms: 7_200_000 })
    t.is((await takeAll(STEPS.slice(1, -1)))?.typed.output, undefined)
    await endsWithToken(t)
    const advice =
      "Set the clock: `timedatectl set-ntp true`. If no time server can be reached, run `timedatectl set-ntp false`, then `timedatectl set-time 'YYYY-MM-DD hh:mm:ss UTC'`. The daemon uses GitHub's time meanwhile."
    const status = await type(t, 'ghconnect status')
    t.true(status.includes(`Next step  ${advice}\n`), status)
    t.regex(status, /^Clock +7(199|200|201) seconds behind GitHub's$/m)
    const check = await type(t, 'ghconnect check')
    t.true(check.includes(`→ ${advice}\n`), check)
    const isEnabled = 'systemctl is-enabled systemd-timesyncd'
    const [on = '', off = '', byHand = ''] = commandsIn(advice)
    await type(t, off)
    t.is((await walk.terminal.type(isEnabled)).output, 'disabled')
    const now = new Date().toISOString().slice(0, 19).replace('T', ' ')
    const set = await walk.terminal.type(byHand.replace('YYYY-MM-DD hh:mm:ss', now))
    t.deepEqual(
      set,
      { code: 1, output: 'Failed to set time: Access denied' },
      'understood, and refused in a container alone',
    )
    await type(t, on)
    t.is(await type(t, isEnabled), 'enabled')
    walk.far.control('POST', '/clock', { offset_ms: 0 })
    t.regex(await type(t, 'ghconnect check'), /^ok +clock +It agrees with GitHub's\.$/m)
    await type(t, 'ghconnect refresh')
    t.notRegex(await type(t, 'ghconnect status'), /timedatectl|behind GitHub's/)
    await endsWithToken(t)
  },
)

bootedTest('the walk with the App not installed: the advice, followed, leads to a token', async t => {
  await walk.startOver()
  t.is((await takeAll(['proxy', 'profile']))?.typed.output, undefined)
  const owner = join(import.meta.dirname, '../../src/sandbox/owner.ts')
  const create: Reaction = [
    /^ {2}(http:\S+)$/m,
    ([, url = '']) =>
      walk.far.asOwner(`import { actAsOwner } from '${owner}'
        await actAsOwner({ formUrl: '${url}', stopAfter: 'callback' })`),
  ]
  const install = /Install it: (https:\S+)/
  const stopped = await walk.take('enable', create, [install, async () => walk.terminal.interrupt()])
  t.is(stopped.code, 130, stopped.output)
  const { code, output } = await walk.take('token')
  t.is(code, 69)
  const [, address = ''] = /(https:\/\/github\.com\/apps\/\S+\/installations\/new)/.exec(output) ?? []
  t.not(address, '', output)
  await walk.far.asOwner(`import { installApp } from '${owner}'
    await installApp({ installUrl: '${address}', account: 'octo-org' })`)
  await type(t, 'ghconnect refresh')
  await endsWithToken(t)
})
