// The service on a really booted systemd, from the installed package: start, trouble, restarts, reload, refusal.

import test from 'ava'
import {
  bootedTest,
  buildPackage,
  canBoot,
  CONFIG,
  createInstalled,
  type Installed,
  keepAsking,
} from '../support/installed.ts'
import { isNight } from '../support/night.ts'

const RESTARTS = isNight ? 100 : 25
const RSS_BUDGET_MB = 90
const START_BUDGET = 3.5
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

let machine: Installed

/** Milliseconds of properties that are monotonic times. */
const times = async (unit: string, ...properties: readonly string[]): Promise<number[]> =>
  Promise.all(properties.map(async name => Number(await machine.property(name, unit)) / 1_000))

const residentMb = async (): Promise<number> =>
  Number(await machine.run("awk '/VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID ghconnectd)/status")) / 1024

let said = ''

test.before(async () => {
  if (!canBoot) return
  const built = buildPackage('service')
  machine = await createInstalled('service')
  said = await machine.install(await built)
})
test.afterEach.always(async t => {
  if (!t.passed && canBoot) t.log((await machine.attempt("journalctl -o short-precise -n 40 -u 'ghconnectd*'")).stdout)
})
test.after.always(() => machine?.stop())

bootedTest('apt installs a daemon that runs, on a machine that has no Node', async t => {
  t.regex(said, /Setting up ghconnectd/)
  t.not((await machine.attempt('type -P node npm')).code, 0)
  t.is(await machine.property('ActiveState'), 'active')
  const enabled = await machine.run(
    'systemctl is-enabled ghconnectd.service ghconnectd.socket ghconnectd-admin.socket ghconnectd-web.socket',
  )
  t.is(enabled.replaceAll('\n', ' '), 'enabled enabled enabled enabled')
  t.is(await machine.run("stat -c '%a %U %G' /run/ghconnectd/token.sock"), '666 root root')
  t.is(await machine.run("stat -c '%a %U %G' /run/ghconnectd/admin.sock"), '660 root ghconnect-admin')
  t.is(await machine.run("stat -c '%a %U' /var/lib/ghconnectd"), '700 ghconnectd')
  t.is(await machine.run('systemctl --failed --no-legend'), '')
})

bootedTest(
  'start and memory are within the budget, beside a bare server that starts as the same kind of service',
  async t => {
    // The unit's own sandbox and memory, with nothing in it but the runtime and a server that listens.
    await machine.run(`echo "require('node:http').createServer().listen(0, () => process.exit())" >/etc/ghconnectd/floor.cjs
    sed -e 's/^Type=.*/Type=oneshot\\nRemainAfterExit=yes/; s|^ExecStart=.*|ExecStart=/usr/lib/ghconnectd/node /etc/ghconnectd/floor.cjs|' \
      -e '/^Sockets=/d; /^Restart/d; /^Watchdog/d; /^ExecReload/d; /^Requires=/d' /lib/systemd/system/ghconnectd.service \
      >/run/systemd/system/floor.service; systemctl daemon-reload`)
    const floors: number[] = []
    const starts: number[] = []
    const resident: number[] = []
    for (let turn = 0; turn < 7; turn++) {
      await machine.run('systemctl restart floor')
      const [from = 0, to = 0] = await times(
        'floor',
        'ExecMainStartTimestampMonotonic',
        'ExecMainExitTimestampMonotonic',
      )
      floors.push(to - from)
      await machine.run('systemctl restart ghconnectd')
      const [began = 0, ready = 0] = await times(
        'ghconnectd',
        'ExecMainStartTimestampMonotonic',
        'ActiveEnterTimestampMonotonic',
      )
      starts.push(ready - began)
      resident.push(await residentMb())
    }
    const ratio = median(starts) / median(floors)
    t.log(
      `start to READY ${median(starts).toFixed(0)} ms, floor ${median(floors).toFixed(0)} ms, ratio ${ratio.toFixed(1)};`,
      `RSS ${median(resident).toFixed(0)} MB`,
    )
    t.true(ratio <= START_BUDGET)
    t.true(median(resident) <= RSS_BUDGET_MB)
  },
)

bootedTest('it is enabled, status reads well, and an ordinary user gets a token, but not the admin socket', async t => {
  await machine.startSandbox()
  await machine.configure(CONFIG)
  await machine.run('systemctl restart ghconnectd')
  await machine.enable()
  t.regex(await machine.token(), /^ghs_/)
  const refused = await machine.attemptAs('alice', 'ghconnect installations')
  t.is(refused.code, 77, refused.stderr)
  t.is((await machine.attemptAs('mallory', 'ghconnect token')).code, 77)
  const status = await machine.run('systemctl status --no-pager -n 3 ghconnectd')
  t.log(`RSS once tokens were served: ${(await residentMb()).toFixed(0)} MB\n${status}`)
  t.regex(status, /Status: "Connected to octo-org/)
  t.regex(await machine.run('ghconnect status'), /^State +connected/)
})

/** As docs/service.md says it: systemd binds no socket anew while its service runs. */
const MOVED =
  'systemctl daemon-reload; systemctl stop ghconnectd && systemctl restart ghconnectd-web.socket && systemctl start ghconnectd'

bootedTest('an administrator signs in to the page, and a drop-in puts a web server in front of it', async t => {
  const link = /http:\/\/\S+\/sign-in\/[0-9a-f]{32}/.exec(await machine.run('ghconnect ui'))?.[0] ?? ''
  const { origin } = new URL(link)
  for (const file of ['style.css', 'client.js', 'icon.svg'])
    t.true((await machine.run(`curl -sf ${origin}/${file}`)).length > 200, file)
  const jar = '/tmp/jar'
  const followed = await machine.run(`curl -sf -c ${jar} -L -H 'Origin: ${origin}' -d '' ${link}`)
  t.regex(followed, /data-state="connected"/)
  t.is((await machine.attempt(`curl -sf -H 'Origin: ${origin}' -d '' ${link}`)).code, 22, 'once')

  const socket = '/run/ghconnectd/web.sock'
  await machine.run(`mkdir -p /etc/systemd/system/ghconnectd-web.socket.d
    printf '[Socket]\\nListenStream=\\nListenStream=${socket}\\nSocketGroup=www-data\\nSocketMode=0660\\n' >/etc/systemd/system/ghconnectd-web.socket.d/front.conf`)
  const front = `[web]\nlisten = "unix:${socket}"\npublic_url = "https://appliance.test:8443"\nfront_user = "www-data"\n`
  await machine.configure(CONFIG + front)
  await machine.run(MOVED)
  const ask = `curl -s --unix-socket ${socket} -H "Host: appliance.test:8443" -H "X-Forwarded-User: carol" http://localhost/`
  t.regex(await machine.run(`setpriv --reuid=www-data --regid=www-data --clear-groups ${ask}`), /sign-in\/front/)
  t.notRegex(await machine.run(ask), /sign-in\/front/, 'root is no front')
  t.not((await machine.attemptAs('mallory', ask)).code, 0, 'and others do not get to it')

  await machine.run('rm -r /etc/systemd/system/ghconnectd-web.socket.d')
  await machine.configure(CONFIG)
  await machine.run(MOVED)
  t.is(await machine.run(`curl -s -o /dev/null -w '%{http_code}' ${origin}/`), '200')
})

bootedTest('after kill -9 the next caller waits a moment and has his answer; nobody is refused', async t => {
  const waits: number[] = []
  const before = await machine.property('MainPID')
  for (let turn = 0; turn < 5; turn++) {
    const [status, ...clock] = (
      await machine.run(`pid=$(systemctl show -P MainPID ghconnectd); date +%s%N; kill -9 $pid; while [ -d /proc/$pid/fd ]; do :; done 2>/dev/null
        curl -sS -o /dev/null -w '%{http_code}\\n' --max-time 10 --unix-socket /run/ghconnectd/token.sock http://localhost/readyz; date +%s%N`)
    )
      .split('\n')
      .toSorted((a, b) => a.length - b.length)
    t.is(status, '200')
    const [a = 0, b = 0] = clock.map(Number)
    waits.push(Math.abs(b - a) / 1e6)
  }
  t.log(`kill -9 to the next answer: ${waits.map(ms => ms.toFixed(0)).join(', ')} ms`)
  // The budget is 1.5 s, and the machine may do much else: the best of five is what it takes by itself, restart pause included.
  t.true(Math.min(...waits) <= 1_500)
  t.true(median(waits) < 3_000)
  t.is(await machine.property('ActiveState'), 'active')
  t.not(await machine.property('MainPID'), before)
  t.is(await machine.property('ActiveState', 'ghconnectd.socket'), 'active')
})

bootedTest('a daemon whose event loop hangs is replaced by the watchdog', async t => {
  await machine.run(`echo "process.on('SIGUSR2', () => { for (;;); })" >/etc/ghconnectd/wedge.cjs
    mkdir -p /run/systemd/system/ghconnectd.service.d
    printf '[Service]\\nWatchdogSec=2\\nExecStart=\\nExecStart=/usr/lib/ghconnectd/node --require /etc/ghconnectd/wedge.cjs /usr/lib/ghconnectd/ghconnectd.cjs\\n' >/run/systemd/system/ghconnectd.service.d/wedge.conf
    systemctl daemon-reload; systemctl restart ghconnectd`)
  // Fed, it lives longer than the manager waits.
  await machine.run('sleep 3')
  const before = Number(await machine.property('NRestarts'))
  const pid = await machine.property('MainPID')
  const answer = await machine.run(`kill -USR2 ${pid}; sleep 0.1
    curl -sS -o /dev/null -w '%{http_code} %{time_total}' --max-time 15 --unix-socket /run/ghconnectd/token.sock http://localhost/readyz`)
  t.log(`hung, and answered by the next one (status, seconds): ${answer}`)
  t.regex(answer, /^200 /)
  t.not(await machine.property('MainPID'), pid)
  t.true(
    Number(await machine.property('NRestarts')) > before ||
      (await machine.run('journalctl -u ghconnectd -o cat')).includes('Watchdog timeout'),
  )
  await machine.run(
    'rm -r /run/systemd/system/ghconnectd.service.d; systemctl daemon-reload; systemctl restart ghconnectd',
  )
})

bootedTest(`${RESTARTS} restarts under load leave no request without its answer`, async t => {
  t.timeout(400_000)
  const stopAsking = await keepAsking(machine)
  const took = await machine.run(
    `date +%s%N; for round in $(seq ${RESTARTS}); do systemctl restart ghconnectd; sleep 0.1; done; date +%s%N`,
  )
  const served = await stopAsking()
  const [before = 0, after = 0] = took.split('\n').map(Number)
  t.log(`${RESTARTS} restarts, ${((after - before) / 1e6 / RESTARTS).toFixed(0)} ms each: ${JSON.stringify(served)}`)
  t.is(served.failed, 0, served.failures.join('; '))
  t.true(served.answered > RESTARTS)
})

bootedTest(
  'a reload takes a changed proxy and profile without dropping a connection, and refuses a broken file',
  async t => {
    const stream = machine.start('exec curl -sSN --unix-socket /run/ghconnectd/admin.sock http://localhost/v1/events')
    let events = ''
    stream.stdout?.on('data', (chunk: Buffer) => (events += chunk.toString()))
    t.is((await machine.attemptAs('mallory', 'ghconnect token')).code, 77)
    await machine.configure(
      CONFIG.replace('"alice"', '"alice", "mallory"') +
        '[proxy]\nurl = "http://127.0.0.1:3129"\nexclude = ["127.0.0.1"]\n[[sinks]]\n'.replace('[[sinks]]\n', ''),
    )
    await machine.run('systemctl reload ghconnectd')
    t.is((await machine.attemptAs('mallory', 'ghconnect token')).code, 0)
    await machine.configure(CONFIG.replace('[app]', '[app]\nnmae = "typo"'))
    t.not((await machine.attempt('systemctl reload ghconnectd')).code, 0, 'the refusal is seen by whoever reloads')
    const text = await machine.property('StatusText')
    t.regex(text, /^Connected to octo-org.* The new configuration was refused: .*config\.toml:\d+: app\.nmae/)
    t.is((await machine.attemptAs('mallory', 'ghconnect token')).code, 0, 'the old settings stay')
    await machine.configure(CONFIG)
    await machine.run('systemctl reload ghconnectd')
    t.notRegex(await machine.property('StatusText'), /refused/)
    t.is((await machine.attemptAs('mallory', 'ghconnect token')).code, 77)
    t.is(stream.exitCode, null, 'the stream of events was open all the time')
    t.regex(events, /event: state/)
    const ended = new Promise<number | null>(done => stream.once('close', done))
    const began = performance.now()
    await machine.run('systemctl restart ghconnectd')
    t.is(await ended, 0, 'and it is ended, not cut, by a restart')
    t.true(performance.now() - began < 4_000, 'a restart waits for no listener')
  },
)

bootedTest('a wrong configuration is refused before anything is touched, and is not tried again', async t => {
  await machine.run('systemctl stop ghconnectd.service "ghconnectd*.socket"')
  const look = "cd /var/lib/ghconnectd; find . -type f -printf '%p %T@ %s\\n' | sort | sha256sum"
  const before = await machine.run(look)
  await machine.configure('[proxy]\nurl = 7\n')
  const refused = await machine.attempt('systemctl start ghconnectd')
  t.not(refused.code, 0)
  // Clients that call now must not start it again and again.
  await machine.attempt(
    'for call in $(seq 30); do curl -s --max-time 1 --unix-socket /run/ghconnectd/token.sock http://localhost/livez; sleep 0.02; done',
  )
  t.is(await machine.property('ExecMainStatus'), '78')
  t.is(await machine.property('ActiveState'), 'failed')
  t.is(await machine.property('NRestarts'), '0')
  t.is(await machine.property('ActiveState', 'ghconnectd.socket'), 'inactive')
  t.is(await machine.run(look), before)
  t.regex(await machine.run('journalctl -u ghconnectd -o cat -n 20'), /config\.toml:2: proxy\.url/)
  t.is((await machine.attemptAs('alice', 'ghconnect token')).code, 69)
  await machine.configure(CONFIG)
  await machine.run('systemctl restart ghconnectd')
  t.regex(await machine.token(), /^ghs_/)
  t.is(
    await machine.run('systemctl is-active ghconnectd.socket ghconnectd-admin.socket ghconnectd-web.socket'),
    'active\nactive\nactive',
  )
})

bootedTest(
  'a sealed key that this machine cannot open leaves a daemon that is locked, and says what to do',
  async t => {
    await machine.run('mv /var/lib/systemd/credential.secret /root/; systemctl restart ghconnectd')
    const status = await machine.call('GET', '/v1/status')
    t.is(status['state'], 'locked')
    // Without a recovery key `unlock` could not help.
    t.regex(String(status['next']), /Bring back the key that the store was made with, or restore a snapshot/)
    t.regex(await machine.property('StatusText'), /locked/)
    t.regex(
      await machine.run('journalctl -u ghconnectd-credentials -o cat -n 5'),
      /store\.key cannot be opened on this machine/,
    )
    t.is((await machine.attemptAs('alice', 'ghconnect token')).code, 69)
    await machine.run('sleep 1')
    t.is(await machine.property('ActiveState'), 'active')
    t.is(await machine.property('NRestarts'), '0', 'no crash loop')
    await machine.run('mv /root/credential.secret /var/lib/systemd/; systemctl restart ghconnectd')
    await machine.until('connected')
    t.regex(await machine.token(), /^ghs_/)
  },
)
