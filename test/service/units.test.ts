// Units by name: what systemd has a file for is not doubted, a typo and an alias are. A process that /proc hides is told from one that is gone.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { doubtfulUnits } from '../../src/service/units.ts'
import { NOBODY } from '../support/probes.ts'

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

const SOURCES = join(import.meta.dirname, '../../src/service')
const LOOK = `
  import { doubtfulUnits, findHiding } from '${SOURCES}/units.ts'
  const gone = 2 ** 22 - 1
  console.log(JSON.stringify({
    other: findHiding(), parent: findHiding(Number(process.argv[1])), own: findHiding(process.pid), gone: findHiding(gone),
    doubts: doubtfulUnits(['a.service', 'b@.service', 'a.service'], '/proc/self/fdinfo'),
  }))`

type Seen = {
  other?: string
  parent?: string
  own?: string
  gone?: string
  doubts: { unit: string; doubt: string; next: string }[]
}

/** Nobody looks, in the group 4, from a mount namespace whose /proc has these options. */
const lookUnder = (options: string): Seen =>
  JSON.parse(
    execFileSync(
      'unshare',
      [
        '--mount',
        'sh',
        '-c',
        'mount -t proc -o "$1" proc /proc && shift && exec "$@"',
        'sh',
        options,
        'setpriv',
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--groups=4',
        process.execPath,
        '--input-type=module-typescript',
        '-e',
        LOOK,
        String(process.pid),
      ],
      { encoding: 'utf8', cwd: '/' },
    ),
  )

test('what hidepid hides is named with its options, and what is gone is gone', t => {
  for (const [options, shown] of [
    ['hidepid=1', 'hidepid=noaccess'],
    ['hidepid=2', 'hidepid=invisible'],
    ['hidepid=2,gid=5', 'gid=5,hidepid=invisible'],
  ] as const) {
    const { other, parent, own, gone, doubts } = lookUnder(options)
    const hiding = `/proc is mounted with ${shown}, which hides the processes of other users and their units from the daemon`
    t.deepEqual(
      { other, parent, own, gone },
      { other: hiding, parent: hiding, own: undefined, gone: undefined },
      options,
    )
    t.deepEqual(
      doubts.map(({ unit, doubt }) => `${unit}: ${doubt}`),
      [`a.service, b@.service: ${hiding}`],
      'once for all units',
    )
    t.regex(doubts[0]?.next ?? '', /SupplementaryGroups=.*docs\/service\.md/)
  }
})

test('nothing is hidden from the group of gid=, nor without hidepid', t => {
  for (const options of ['hidepid=2,gid=4', 'hidepid=0']) t.deepEqual(lookUnder(options), { doubts: [] }, options)
})
