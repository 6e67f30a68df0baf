// Units by name: what systemd has a file for is not doubted, a typo and an alias are.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { doubtfulUnits } from '../../src/service/unit-files.ts'

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

test('a unit counts in each folder in which systemd looks for it', t => {
  const folders = [
    'etc/systemd/system.control',
    'run/systemd/system.control',
    'run/systemd/transient',
    'run/systemd/generator.early',
    'etc/systemd/system',
    'etc/systemd/system.attached',
    'run/systemd/system',
    'run/systemd/system.attached',
    'run/systemd/generator',
    'usr/local/lib/systemd/system',
    'usr/lib/systemd/system',
    'lib/systemd/system',
    'run/systemd/generator.late',
  ]
  for (const [at, path] of folders.entries()) put(`${path}/in-${at}.service`)
  t.deepEqual(
    doubtfulUnits(
      folders.map((_, at) => `in-${at}.service`),
      root,
    ),
    [],
  )
})

test('a unit that several profiles name is doubted once, with what to do', t => {
  const [doubt, ...more] = doubtfulUnits(['a.service', 'a.service'], root)
  t.deepEqual(more, [])
  t.regex(doubt?.next ?? '', /^Correct it in the configuration, or install the unit/)
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
