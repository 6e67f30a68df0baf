// Clients of the package on a really booted systemd: LoadCredential= to a plain cat, file sinks by their template, tokens by unit.

import test from 'ava'
import { bootedTest, buildPackage, canBoot, CONFIG, createInstalled, type Installed } from '../support/installed.ts'

let machine: Installed

const PROFILES = `
[[profiles]]
name = "job"
installation = "octo-org"
permissions = { contents = "read" }
allow = { units = ["job.service", "fetch@.service"] }
[[profiles]]
name = "file"
installation = "octo-org"
permissions = { contents = "read" }
allow = { users = ["alice"], units = ["ghconnect-sink@.service"] }
[[sinks]]
name = "file"
profile = "file"
path = "/run/alice-token/token"
mode = "0640"
`

test.before(async () => {
  if (!canBoot) return
  const built = buildPackage('clients')
  machine = await createInstalled('clients')
  await machine.install(await built)
  await machine.startSandbox()
  await machine.configure(CONFIG + PROFILES)
  await machine.run('systemctl restart ghconnectd')
  await machine.enable()
})
test.after.always(() => machine?.stop())

const run = (unit: string, line: string, options = '') =>
  machine.attempt(`systemd-run --quiet --wait --pipe --collect --unit=${unit} ${options} ${line}`)
const SOCKET = '/run/ghconnectd/credentials.sock'
const CAT = `sh -c 'cat "$CREDENTIALS_DIRECTORY/job"'`

bootedTest('LoadCredential= gives the unit of the profile its token, by a plain cat, whatever its user', async t => {
  const expected = await machine.attempt(
    `systemd-run --quiet --wait --pipe --collect --unit=job ghconnect token --profile job`,
  )
  t.regex(expected.stdout, /^ghs_\S+\n$/, expected.stderr)
  for (const [unit, options] of [
    ['job', ''],
    ['job', '-p User=mallory'],
    ['job', '-p DynamicUser=yes'],
    ['fetch@7', '-p User=alice'],
  ]) {
    const ran = await run(String(unit), CAT, `-p LoadCredential=job:${SOCKET} ${options}`)
    t.is(ran.code, 0, `${unit} ${options}: ${ran.stderr}`)
    t.regex(ran.stdout, /^ghs_\S+$/)
  }
})

bootedTest('another unit is refused, of the same user too: it fails to start; the audit log has all of it', async t => {
  const refused = await run('other', CAT, `-p LoadCredential=job:${SOCKET} -p User=alice`)
  t.is(refused.stdout, '')
  t.is(refused.code, 243, 'CREDENTIALS')
  const token = await run('other', 'ghconnect token --profile job', '-p User=alice')
  t.is(token.code, 77)
  const audit = JSON.stringify(await machine.call('GET', '/v1/audit'))
  t.regex(audit, /token\.grant/)
  t.regex(audit, /"unit":"job\.service"/)
  t.regex(audit, /"unit":"fetch@7\.service"/)
  t.regex(audit, /token\.deny/)
  t.regex(audit, /"unit":"other\.service"/)
})

bootedTest(
  'a sink by its template: its file belongs to the user of the drop-in, and follows the connection',
  async t => {
    await machine.run(`mkdir -p /etc/systemd/system/ghconnect-sink@file.service.d
    printf '[Service]\\nUser=alice\\nRuntimeDirectory=alice-token\\nRuntimeDirectoryMode=0755\\n' >/etc/systemd/system/ghconnect-sink@file.service.d/owner.conf
    systemctl daemon-reload; systemctl enable --now ghconnect-sink@file`)
    t.is(await machine.run("stat -c '%a %U' /run/alice-token/token"), '640 alice')
    t.regex(await machine.run('cat /run/alice-token/token'), /^ghs_\S+$/)
    t.regex(await machine.property('StatusText', 'ghconnect-sink@file'), /token: holds a token until 20/)
    await machine.run('systemctl kill -s KILL --kill-who=main ghconnectd; sleep 2')
    t.is(await machine.run("stat -c '%a %U' /run/alice-token/token"), '640 alice')
    t.is(await machine.property('ActiveState', 'ghconnect-sink@file'), 'active')
    await machine.run('ghconnect disable --local --yes')
    await machine.run('for try in $(seq 100); do [ -e /run/alice-token/token ] || exit 0; sleep 0.1; done; exit 1')
    t.pass()
    const score = await machine.run('systemd-analyze security --no-pager ghconnect-sink@file.service | tail -n 1')
    t.log(score)
  },
)

bootedTest('the git helper is where the one line of configuration says', async t => {
  t.is(
    await machine.run(
      `printf 'protocol=https\\nhost=example.com\\n' | /usr/lib/ghconnectd/git-credential-ghconnect get`,
    ),
    '',
  )
  t.regex(await machine.run("stat -c '%a' /usr/lib/ghconnectd/git-credential-ghconnect"), /755/)
})
