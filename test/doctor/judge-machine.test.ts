// What the doctor sees on the machine itself: a row for configuration, store, recovery keys and backup, whatever they are in.

import test from 'ava'
import { Failure } from '../../src/protocol/errors.ts'
import type { Profile } from '../../src/protocol/profile.ts'
import type { CheckRow } from '../../src/protocol/wire-check.ts'
import { examineMachine } from '../../src/doctor/doctor.ts'
import type { StoreFacts } from '../../src/doctor/probe.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 4, 9, 12)

const FACTS: StoreFacts = {
  generation: 3,
  isLive: true,
  recipients: ['age1one'],
  isWrapped: true,
  isFollower: false,
  lastExport: { atMs: NOW, generation: 3 },
}

type Probe = Parameters<typeof examineMachine>[0]

const PROFILE: Profile = { name: 'a', allow: { users: [], groups: [], units: [] } }

const look = (more: Partial<Probe> = {}): CheckRow[] => {
  let monotonicMs = 0
  return examineMachine({
    clock: { now: () => NOW, monotonic: () => (monotonicMs += 7) },
    profiles: () => [PROFILE, PROFILE],
    configuration: () => ({ file: 'c.toml', doubts: [] }),
    examineStore: () => 'Its pages are whole.',
    findStore: () => FACTS,
    ...more,
  })
}
const rowOf = (layer: CheckRow['layer'], more: Partial<Probe> = {}): Partial<CheckRow> =>
  look(more).find(row => row.layer === layer) ?? {}
const of = (layer: CheckRow['layer'], facts: Partial<StoreFacts>): Partial<CheckRow> =>
  rowOf(layer, { findStore: () => ({ ...FACTS, ...facts }) })

test('where all is well each row says what was seen', t => {
  t.deepEqual(look(), [
    { layer: 'configuration', took_ms: 0, verdict: 'ok', evidence: 'c.toml: 2 profiles.' },
    { layer: 'store', took_ms: 7, verdict: 'ok', evidence: 'Its pages are whole.' },
    { layer: 'recovery-key', took_ms: 0, verdict: 'ok', evidence: '1 opens snapshots and store.' },
    {
      layer: 'backup',
      took_ms: 0,
      verdict: 'ok',
      evidence: 'The last export is of 2026-05-09T12:00Z (less than a day ago).',
    },
  ])
  t.is(of('recovery-key', { recipients: ['a', 'b'] }).evidence, '2 open snapshots and store.')
})

test('of the configuration a refusal comes first, then the first doubt and how many more there are', t => {
  const file = { file: 'c.toml' }
  const profiles = () => [PROFILE]
  const doubt = (said: string) => ({ said, next: `Mend ${said}.` })
  t.like(
    rowOf('configuration', { profiles, configuration: () => ({ ...file, refused: 'line 3', doubts: [doubt('a')] }) }),
    {
      verdict: 'failed',
      code: 'configuration',
      evidence: 'The settings of before are in force, as the file was refused: line 3.',
      next: 'Correct it, then `systemctl reload ghconnectd`: with this file the daemon would not start again.',
    },
  )
  t.like(rowOf('configuration', { profiles, configuration: () => ({ ...file, doubts: [doubt('a')] }) }), {
    verdict: 'warning',
    evidence: 'c.toml: 1 profile. a.',
    next: 'Mend a.',
  })
  t.is(
    rowOf('configuration', { profiles, configuration: () => ({ ...file, doubts: ['a', 'b', 'c'].map(doubt) }) })
      .evidence,
    'c.toml: 1 profile. a, and 2 more.',
  )
})

test('a store that fails is told with its problem, one that may not be looked at is skipped, and a closed one hides what is in it', t => {
  const failing = (failure: Failure): Partial<Probe> => ({
    examineStore: () => {
      throw failure
    },
  })
  t.like(rowOf('store', failing(new Failure('store-corrupt', 'page 3 fails'))), {
    verdict: 'failed',
    code: 'store-corrupt',
    evidence: 'Page 3 fails.',
    took_ms: 7,
  })
  t.like(rowOf('store', failing(new Failure('not-permitted', 'root may'))), {
    verdict: 'skipped',
    evidence: 'Not asked: root may.',
  })
  t.deepEqual(
    look({ findStore: () => undefined }).map(({ layer, verdict, evidence }) => [layer, verdict, evidence]),
    [
      ['configuration', 'ok', 'c.toml: 2 profiles.'],
      ['store', 'ok', 'Its pages are whole.'],
      ['recovery-key', 'skipped', 'Not asked: the store is closed.'],
      ['backup', 'skipped', 'Not asked: the store is closed.'],
    ],
  )
})

test('a recovery key is missed where there is an App to lose, and is no use before the store key is encrypted to it', t => {
  t.like(of('recovery-key', { isLive: false, recipients: [] }), {
    verdict: 'skipped',
    evidence: 'Not asked: there is no App to lose.',
  })
  const none = of('recovery-key', { recipients: [] })
  t.is(none.verdict, 'warning')
  t.regex(none.next ?? '', /^Run `ghconnect recovery-key create`/)
  const unwrapped = of('recovery-key', { isWrapped: false })
  t.is(unwrapped.verdict, 'warning')
  t.regex(unwrapped.evidence ?? '', /is not encrypted to the recovery keys yet/)
  t.is(of('recovery-key', { isLive: false }).verdict, 'ok')
})

test('a backup is fresh for a week, and only of these keys; another node may have made it', t => {
  const aged = (ms: number, more: Partial<StoreFacts> = {}) =>
    of('backup', { lastExport: { atMs: NOW - ms, generation: 3 }, ...more })
  t.deepEqual(
    [DAY - 1, DAY, 2 * DAY, 7 * DAY - 1, 7 * DAY].map(ms => [
      aged(ms).verdict,
      /\((.*)\)/.exec(aged(ms).evidence ?? '')?.[1],
    ]),
    [
      ['ok', 'less than a day ago'],
      ['ok', 'a day ago'],
      ['ok', '2 days ago'],
      ['ok', '6 days ago'],
      ['warning', '7 days ago'],
    ],
  )
  t.regex(aged(7 * DAY).next ?? '', /^Run `ghconnect snapshot export`/)
  t.like(of('backup', { lastExport: { atMs: NOW, generation: 2 } }), {
    verdict: 'warning',
    evidence:
      'The last export, of 2026-05-09T12:00Z (less than a day ago), is of generation 2; this is 3, with other keys.',
  })
  for (const lastExport of [undefined, null, 'x', {}, { atMs: 'x', generation: 3 }, { atMs: NOW, generation: 'x' }])
    t.is(of('backup', { lastExport }).evidence, 'This daemon never exported a snapshot.', JSON.stringify(lastExport))
  t.like(of('backup', { isLive: false, lastExport: undefined }), {
    verdict: 'skipped',
    evidence: 'Not asked: there is no App to lose.',
  })
  for (const facts of [{ lastExport: undefined }, { lastExport: { atMs: NOW - 7 * DAY, generation: 3 } }])
    t.is(of('backup', { ...facts, isFollower: true }).verdict, 'skipped')
  t.is(of('backup', { isFollower: true }).verdict, 'ok', 'what was made here counts')
})
