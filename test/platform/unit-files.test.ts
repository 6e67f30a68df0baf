// Units by name: what systemd has a file for is not doubted, a typo and an alias are.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { doubtfulUnits } from '../../src/platform/unit-files.ts'

const root = mkdtempSync(join(tmpdir(), 'units-'))
test.after.always(() => rmSync(root, { recursive: true }))
const put = (path: string, target?: string): void => {
  const whole = join(root, path)
  mkdirSync(dirname(whole), { recursive: true })
  if (target === undefined) writeFileSync(whole, '[Service]\n')
  else symlinkSync(target, whole)
}
mkdirSync(join(root, 'run/systemd/system'), { recursive: true })
put('usr/lib/systemd/system/actions-sync.service')
put('etc/systemd/system/job@.service')
put('run/systemd/transient/once.service')
put('etc/systemd/system/linked.service', '/opt/x/linked.service')
put('etc/systemd/system/masked.service', '/dev/null')
put('etc/systemd/system/dbus-org.example.service', '/usr/lib/systemd/system/actions-sync.service')
put('etc/systemd/system/job@fast.service', '/etc/systemd/system/job@.service')

test('units with a file, their instances and templates, links and scopes are not doubted', t => {
  const known = ['actions-sync', 'job@', 'job@7', 'job@a\\x2db', 'job@fast', 'once', 'linked', 'masked']
  t.deepEqual(doubtfulUnits([...known.map(name => `${name}.service`), 'session-3.scope'], root), [])
})

test('a typo is doubted, and an alias, by which no process is found', t => {
  const doubts = doubtfulUnits(['action-sync.service', 'jobs@1.service', 'dbus-org.example.service'], root)
  t.deepEqual(
    doubts.map(({ unit, doubt }) => `${unit}: ${doubt}`),
    [
      'action-sync.service: systemd knows no unit of this name',
      'jobs@1.service: systemd knows no unit of this name',
      'dbus-org.example.service: an alias: processes are in actions-sync.service, which is the name to give',
    ],
  )
})

test('where systemd does not run there is nobody to know', t => {
  t.deepEqual(doubtfulUnits(['no-such.service'], join(root, 'etc')), [])
})
