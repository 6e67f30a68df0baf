// The Debian package and the sandbox of its service: built twice, upgraded under a live client, rebooted, searched for secrets, removed, purged.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
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

const ROOT = resolve(import.meta.dirname, '../..')
const UNITS = join(ROOT, 'systemd')
const run = promisify(execFile)
/** Named by the documents, and made by the installation or by you. */
const MADE_LATER = new Set(['/usr/lib/ghconnectd/compile-cache'])

/** Where the package has a unit: those that you copy are among the examples. */
const unitFolder = (unit: string): string =>
  unit.startsWith('ghconnectd-metrics') ? '/usr/share/doc/ghconnectd/examples/metrics/' : '/lib/systemd/system/'

/** All files and folders, without those in which dpkg, systemd and the tests themselves write. */
const listFiles = async (): Promise<string[]> => {
  const others = [
    '/var/log',
    '/var/cache',
    '/var/lib/dpkg',
    '/var/lib/apt',
    '/var/lib/systemd/timers',
    '/var/lib/PackageKit',
    '/var/tmp',
  ]
  const prune = others.map(path => `-path ${path}`).join(' -o ')
  const places = '/etc /usr /opt /var /run/ghconnectd /run/credstore.encrypted'
  const found = await machine.run(`find ${places} \\( ${prune} \\) -prune -o -print 2>/dev/null || true`)
  return [...new Set(found.split('\n'))].toSorted()
}
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

let machine: Installed
let former = ''
/** What was on the machine before any of the package was. */
let pristine: ReadonlySet<string>
let current = ''
let again = ''

test.before(async () => {
  const booting = canBoot ? createInstalled('package') : undefined
  // At once, so that nothing changes in between.
  ;[current, again] = await Promise.all([buildPackage('package'), buildPackage('package-again')])
  former = await buildPackage('package', '--version', '0.0.9')
  if (!booting) return
  machine = await booting
  pristine = new Set(await listFiles())
})
test.afterEach.always(async t => {
  if (!t.passed && machine) t.log((await machine.attempt("journalctl -o short-precise -n 40 -u 'ghconnectd*'")).stdout)
})
test.after.always(() => machine?.stop())

test.serial('the same sources give the same package, and lintian finds no error in it', async t => {
  t.is(digest(again), digest(current))
  const { stdout } = await run('lintian', ['--allow-root', '--fail-on', 'error', current])
  t.false(/^E:/m.test(stdout), stdout)
})

test.serial(
  'each document, program, unit and manual page that the packaged documents and configuration name is in the package',
  async t => {
    const folder = mkdtempSync(join(tmpdir(), 'package-'))
    try {
      await run('dpkg-deb', ['-x', current, folder])
      const has = (path: string): boolean => existsSync(join(folder, path))
      const { stdout } = await run('find', [folder, '-path', '*/doc/*', '-name', '*.md', '-type', 'f'])
      const documents = stdout
        .trim()
        .split('\n')
        .map(path => path.slice(folder.length))
      const textOf = (path: string): string => {
        const content = readFileSync(join(folder, path))
        return (path.endsWith('.gz') ? gunzipSync(content) : content).toString()
      }
      const manual = '/usr/share/man/man8/ghconnectd.8.gz'
      let count = 0
      for (const path of [...documents, '/etc/ghconnectd/config.toml', manual]) {
        const text = textOf(path)
        const named = text.matchAll(
          /\/(?:usr\/(?:s?bin|lib|share\/doc)|lib\/systemd\/system)\/[\w./@-]*ghconnect[\w./@-]*\w/g,
        )
        const units = text.matchAll(/\bghconnectd?(?:-\w+)?@?\.(?:service|socket)\b/g)
        const wanted = [
          ...[...named].map(([found]) => found),
          ...[...units].map(([found]) => unitFolder(found) + found),
        ].filter(found => !MADE_LATER.has(found))
        for (const found of wanted) t.true(has(found), `${path} names ${found}`)
        count += wanted.length
      }
      t.true(count > 30, `${count}`)
      for (const path of documents) {
        for (const [, target = ''] of textOf(path).matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
          if (!/^[a-z]+:/.test(target)) t.true(has(join(dirname(path), target)), `${path} links to ${target}`)
        }
      }
      // Outside of Markdown a document is named by its whole path: nobody reads these in its folder.
      for (const path of ['/etc/ghconnectd/config.toml', manual])
        t.notRegex(textOf(path), /(?<![\w/-])\w[\w/-]*\.md\b/, path)
      const shipped = await run('git', ['ls-files', 'docs'], { cwd: ROOT })
      for (const path of [...shipped.stdout.trim().split('\n'), 'README.md', 'SECURITY.md', 'CHANGELOG.md']) {
        t.true(has(`/usr/share/doc/ghconnectd/${path}`), path)
      }
      for (const path of ['backup/restic.sh', 'metrics/serve-metrics.sh', 'fetch-action.sh']) {
        t.true(has(`/usr/share/doc/ghconnectd/examples/${path}`), path)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

test.serial('the package for arm64 holds programs for arm64', async t => {
  const built = await buildPackage('package', '--arch', 'arm64')
  const script = `folder=$(mktemp -d); trap 'rm -rf $folder' EXIT; dpkg-deb -x "$1" $folder
    cd $folder/usr/lib/ghconnectd; file -b node $(find . -name '*.node'); dpkg-deb -f "$1" Architecture`
  const { stdout } = await run('bash', ['-euc', script, 'look', built])
  const [architecture, ...files] = stdout.trim().split('\n').toReversed()
  t.is(architecture, 'arm64')
  t.is(files.length, 3)
  for (const file of files) t.regex(file, /^ELF 64-bit.*ARM aarch64.*, stripped/)
})

test.serial('the exposure of the service is at most 1.3, and each setting that is relaxed says why', async t => {
  const analyze = (unit: string, threshold: string) =>
    run('systemd-analyze', ['security', '--offline=true', `--threshold=${threshold}`, '--no-pager', join(UNITS, unit)])
  const { stdout } = await analyze('ghconnectd.service', '13')
  t.log(stdout.trim().split('\n').at(-1))
  await t.notThrowsAsync(analyze('ghconnectd-credentials.service', '20'))
  const lines = readFileSync(join(UNITS, 'ghconnectd.service'), 'utf8').split('\n')
  const relaxed = lines.flatMap((line, at) => (/^\w+=(no|default|all)$/.test(line) ? [{ line, at }] : []))
  t.true(relaxed.length >= 4)
  for (const { line, at } of relaxed) {
    const name = line.split('=')[0] ?? ''
    t.true(
      lines.slice(Math.max(0, at - 3), at).some(above => above.startsWith(`# ${name}=`)),
      `${line} is not explained`,
    )
  }
})

bootedTest(
  'the previous package is upgraded under a live client: no request fails, and everything is there',
  async t => {
    await machine.install(former)
    await machine.startSandbox()
    await machine.configure(CONFIG)
    await machine.run('systemctl restart ghconnectd')
    await machine.enable()
    const token = await machine.token()
    const before = await machine.property('MainPID')
    const sealed = await machine.run('sha256sum /etc/ghconnectd/credentials/store.key')
    const stopAsking = await keepAsking(machine)
    await machine.install(current)
    const served = await stopAsking()
    t.log(`while the package was upgraded: ${JSON.stringify(served)}`)
    t.is(served.failed, 0, served.failures.join('; '))
    t.true(served.answered > 50)
    t.is(
      await machine.run("dpkg-query -W -f '${Version}' ghconnectd"),
      JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version,
    )
    t.not(await machine.property('MainPID'), before, 'the daemon is the new one')
    t.is(await machine.token(), token)
    t.is(
      await machine.run('sha256sum /etc/ghconnectd/credentials/store.key'),
      sealed,
      'no key was made over the old one',
    )
    t.regex(
      await machine.run('cat /etc/ghconnectd/config.toml'),
      /127\.0\.0\.1:8471/,
      'the configuration is the administrator’s',
    )
  },
)

bootedTest('systemd finds nothing to complain about in the units', async t => {
  const { code, stderr } = await machine.attempt(
    'cd /lib/systemd/system; systemd-analyze verify ghconnectd.service ghconnectd.socket ghconnectd-admin.socket ghconnectd-web.socket ghconnectd-credentials.service ghconnectd-refused.service',
  )
  t.is(code, 0, stderr)
  t.is(
    stderr
      .split('\n')
      .filter(line => line.includes('ghconnect'))
      .join('\n'),
    '',
  )
})

bootedTest('the daemon runs in the sandbox that its unit describes, and its compiled code is root’s', async t => {
  const status = await machine.run('cat /proc/$(systemctl show -P MainPID ghconnectd)/status')
  t.regex(status, /^NoNewPrivs:\s+1$/m)
  t.regex(status, /^Seccomp:\s+2$/m)
  t.regex(status, /^CapBnd:\s+0+$/m)
  t.regex(status, /^Uid:\s+(?!0)\d+/m)
  // Not dumpable: what is in its folder of /proc belongs to root, though the process does not.
  t.is(await machine.run('stat -c %U /proc/$(systemctl show -P MainPID ghconnectd)/environ'), 'root')
  t.regex(await machine.run('cat /proc/$(systemctl show -P MainPID ghconnectd)/limits'), /^Max core file size\s+0\s+0/m)
  t.is(await machine.run('find /usr/lib/ghconnectd ! -user root -o -perm /022 ! -type l'), '')
  const seen = await machine.run('cd /proc/$(systemctl show -P MainPID ghconnectd)/root; echo *; ls var/lib')
  t.is(seen, 'dev etc lib lib64 proc root run sys tmp usr var\nghconnectd\nsss')
  t.is(await machine.run('ls -A /proc/$(systemctl show -P MainPID ghconnectd)/root/root | wc -l'), '0')
  const cache = '/usr/lib/ghconnectd/compile-cache'
  t.is(await machine.run(`ls ${cache} | sed 's/.*-//'`), await machine.run('id -u ghconnectd'))
})

bootedTest('no other user and no other unit can read the credential', async t => {
  const path = '/run/credentials/ghconnectd.service/store.key'
  t.is(await machine.run(`wc -c <${path}`), '32')
  for (const user of ['alice', 'mallory']) t.not((await machine.attemptAs(user, `cat ${path}`)).code, 0)
  const units = ['--property=DynamicUser=yes', '--uid=mallory', '--uid=alice --gid=ghconnect-admin']
  for (const unit of units) {
    const { code, stdout } = await machine.attempt(`systemd-run --quiet --wait --pipe ${unit} cat ${path}`)
    t.not(code, 0)
    t.is(stdout, '')
  }
  for (const file of ['/etc/ghconnectd/credentials/store.key', '/run/credstore.encrypted/ghconnectd.store.key']) {
    t.not((await machine.attemptAs('alice', `cat ${file}`)).code, 0)
  }
})

bootedTest('environment, arguments, journal and files hold no secret, and a crash leaves no core', async t => {
  const token = await machine.token()
  // Broken on purpose, so that whatever the kernel would write is searched, too.
  await machine.run('kill -SEGV $(systemctl show -P MainPID ghconnectd)')
  await machine.until('connected')
  const found = await machine.run(`cd /tmp; umask 077; key=/run/credentials/ghconnectd.service/store.key
    { printf '%s\\n' '${token}' 'PRIVATE KEY-----'; base64 -w0 $key; echo; od -An -vtx1 $key | tr -d ' \\n'; echo; } >/root/needles
    pid=$(systemctl show -P MainPID ghconnectd)
    search() { grep -aqiF -f /root/needles && echo "found in $1" || true; }
    search environ </proc/$pid/environ; search arguments </proc/$pid/cmdline
    journalctl -o export --no-pager | search journal
    find /var/lib/ghconnectd /var/lib/systemd/coredump /var/crash /var/tmp /tmp /run -xdev -type f ! -path '/run/credentials/*' ! -path '/run/log/*' ! -name 'client-node' -print0 2>/dev/null |
      xargs -0r grep -laiF -f /root/needles 2>/dev/null | sed 's/^/found in /' || true
    find / -xdev -newer /root/needles -name 'core*' -type f -size +1M
    journalctl -o export --no-pager | grep -ac GHCONNECT_ | sed 's/^/fields: /'`)
  t.regex(found, /^fields: [1-9]\d*$/, 'nothing was found, and the journal was searched')
})

bootedTest('after a reboot the credentials are there, and a token is served before any is minted', async t => {
  const token = await machine.token()
  await machine.reboot()
  t.not(await machine.property('ActiveState', 'sandbox'), 'active', 'GitHub is away')
  t.is(await machine.token(), token)
  t.is((await machine.call('GET', '/v1/status'))['state'], 'connected')
})

bootedTest(
  'removal keeps the state, and a new installation serves it; a purge says what it deletes, and deletes it',
  async t => {
    const token = await machine.token()
    const removed = await machine.run('DEBIAN_FRONTEND=noninteractive apt-get remove -y ghconnectd 2>&1')
    t.regex(removed, /are kept/)
    t.is((await machine.attempt('systemctl is-active ghconnectd.socket')).code === 0, false)
    t.is((await machine.attempt('test -e /run/ghconnectd/token.sock')).code, 1)
    t.is((await machine.attempt('test -e /usr/lib/ghconnectd/compile-cache')).code, 1)
    await machine.install(current)
    t.is(await machine.token(), token)
    const purged = await machine.run('DEBIAN_FRONTEND=noninteractive apt-get purge -y ghconnectd 2>&1')
    t.regex(purged, /deleting \/var\/lib\/ghconnectd: the App's private key/)
    t.regex(purged, /stays on GitHub/)
    const left = (await listFiles()).filter(path => !pristine.has(path))
    t.deepEqual(left, ['/var/lib/systemd/credential.secret'])
    for (const path of left) t.true(purged.includes(path), `the purge does not say that ${path} stays`)
    t.is(await machine.run("systemctl list-unit-files 'ghconnectd*' --no-legend | grep -v transient || true"), '')
  },
)
