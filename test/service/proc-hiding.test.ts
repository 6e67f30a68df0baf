// A process that /proc hides is told from one that is gone: with a real /proc of hidepid, seen by an ordinary user.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { NOBODY } from '../support/probes.ts'

const SOURCES = join(import.meta.dirname, '../../src/service')
const LOOK = `
  import { findHiding } from '${SOURCES}/proc-hiding.ts'
  import { doubtfulUnits } from '${SOURCES}/unit-files.ts'
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
