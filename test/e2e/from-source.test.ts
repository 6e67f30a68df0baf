// README's block for a server without the package, typed as it stands, by root in a clone: owners and modes of what it makes, and a token.

import test from 'ava'
import { bootMachine, type Machine, SOURCES } from '../support/booted.ts'
import { readDocument } from '../support/document.ts'
import { bootedTest, canBoot, CONFIG } from '../support/installed.ts'

let machine: Machine

test.before(async () => {
  if (canBoot) machine = await bootMachine(`from-source-${process.pid}`)
})
test.after.always(() => machine?.stop())

const inClone = (script: string): Promise<string> => machine.run(`cd ${SOURCES}\n${script}`)

bootedTest('README’s block from source, typed as it stands, ends with a daemon that serves', async t => {
  const [setUp = '', start = ''] = readDocument('README.md')
    .block('source')
    .split(/^(?=runuser )/m)
  t.regex(await inClone(setUp), /config\.toml: OK$/)
  t.is(
    await machine.run(`stat -c '%U:%G %a %n' /var/lib/ghconnectd /run/ghconnectd /etc/ghconnectd/{config.toml,store.key}
      stat -c %s /etc/ghconnectd/store.key`),
    `ghconnectd:ghconnectd 700 /var/lib/ghconnectd
ghconnectd:ghconnectd 755 /run/ghconnectd
root:root 644 /etc/ghconnectd/config.toml
ghconnectd:ghconnectd 600 /etc/ghconnectd/store.key
32`,
  )
  // GitHub is the sandbox.
  await inClone(`cat >>/etc/ghconnectd/config.toml <<'TOML'\n${CONFIG}\nTOML
    systemd-run --quiet ${SOURCES}/scripts/ghconnect sandbox --listen 127.0.0.1:8471
    useradd alice; useradd mallory
    for try in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:8471/_sandbox/state && exit; sleep 0.05; done; exit 1`)
  const daemon = machine.start(`cd ${SOURCES}; exec 2>&1; ${start}`)
  daemon.stdin?.end()
  let said = ''
  const ready = new Promise<void>((resolve, reject) => {
    daemon.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      if (said.includes('"ready"')) resolve()
    })
    daemon.once('close', () => reject(new Error(`the daemon ended: ${said}`)))
  })
  await ready
  t.is(
    await machine.run("stat -c '%U:%G %a %n' /run/ghconnectd/{token,admin}.sock"),
    'ghconnectd:ghconnectd 666 /run/ghconnectd/token.sock\nghconnectd:ghconnectd 660 /run/ghconnectd/admin.sock',
  )
  t.regex(await inClone('./scripts/ghconnect status'), /^State +disconnected/)
  const enable = machine.attempt(
    `${SOURCES}/scripts/ghconnect enable --organization octo-org --without-recovery-key >/tmp/enable.log 2>&1`,
  )
  const owner = `import { actAsOwner } from '${SOURCES}/src/sandbox/owner.ts'
    await actAsOwner({ formUrl: process.argv[1], account: 'octo-org' })`
  await inClone(`for try in $(seq 100); do url=$(grep -o 'http:\\S*' /tmp/enable.log | head -1) && [ -n "$url" ] && break; sleep 0.05; done
    node_modules/.bin/node --input-type=module -e "${owner}" "$url"`)
  t.like(await enable, { code: 0 })
  const token = (user: string) => machine.attemptAs(user, `${SOURCES}/scripts/ghconnect token --repo web`)
  t.regex((await token('alice')).stdout, /^ghs_\w+$/m)
  t.is((await token('mallory')).code, 77)
  t.is(
    (await machine.attemptAs('alice', `${SOURCES}/scripts/ghconnect audit`)).code,
    77,
    'admin.sock is for root and the daemon’s user',
  )
})
