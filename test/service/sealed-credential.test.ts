// Credentials that systemd keeps sealed: opened under the name that they were sealed for, and never replaced.

import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { encryptTo, openSealed, seal } from '../../src/service/sealed-credential.ts'
import { thrownBy } from '../support/fakes.ts'

/** Sealed to nothing, so that no secret of this machine is touched; the name is bound all the same. */
const AT = { name: 'store.key', withKey: 'tpm2-absent' }

const prepare = (t: ExecutionContext) => {
  const folder = mkdtempSync(join(tmpdir(), 'sealed-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return { folder, credential: { ...AT, path: join(folder, 'credentials', 'store.key') } }
}
const nowMs = Date.parse('2026-07-11T12:30:45.678Z')

test('what was sealed is opened again under its name alone, and what was there before is kept', t => {
  const { folder, credential } = prepare(t)
  t.is(openSealed(credential), undefined)
  seal(Buffer.from([0, 255, 10]), credential, nowMs)
  t.is(statSync(join(folder, 'credentials')).mode & 0o777, 0o700)
  t.deepEqual(openSealed(credential), Buffer.from([0, 255, 10]))
  t.is(thrownBy(() => openSealed({ ...credential, name: 'other.key' }))?.code, 'locked')
  seal(Buffer.from('second'), credential, nowMs)
  t.deepEqual(readdirSync(join(folder, 'credentials')).toSorted(), ['store.key', 'store.key.lost-20260711T123045Z'])
  t.is(String(openSealed(credential)), 'second')
  const lost = { ...credential, path: `${credential.path}.lost-20260711T123045Z` }
  t.deepEqual(openSealed(lost), Buffer.from([0, 255, 10]))
})

test('keys that are sealed anew within one second keep all that stood there before', t => {
  const { folder, credential } = prepare(t)
  for (const content of ['first', 'second', 'third', 'fourth']) seal(Buffer.from(content), credential, nowMs)
  const lost = 'store.key.lost-20260711T123045Z'
  const names = readdirSync(join(folder, 'credentials')).toSorted()
  t.deepEqual(names, ['store.key', lost, `${lost}-2`, `${lost}-3`])
  t.deepEqual(
    names.map(name => String(openSealed({ ...AT, path: join(folder, 'credentials', name) }))),
    ['fourth', 'first', 'second', 'third'],
  )
})

test('what cannot be opened or sealed is locked, says why, and leaves nothing behind', t => {
  const { folder, credential } = prepare(t)
  const path = join(folder, 'foreign')
  writeFileSync(path, 'sealed to another machine')
  const foreign = thrownBy(() => openSealed({ ...AT, path }))
  t.is(foreign?.code, 'locked')
  t.regex(foreign?.message ?? '', /foreign cannot be opened on this machine: \w/)
  const wrong = { ...credential, withKey: 'nonsense' }
  const failure = thrownBy(() => seal(Buffer.from('x'), wrong, nowMs))
  t.is(failure?.code, 'locked')
  t.regex(failure?.message ?? '', /no store key could be sealed to .*store\.key.*: \w/)
  t.deepEqual(readdirSync(join(folder, 'credentials')), [])
  t.is(thrownBy(() => encryptTo(join(folder, 'absent', 'x'), Buffer.from('x'), AT))?.code, 'locked')
})

test('what fails to be sealed keeps the one that stands there in its place', t => {
  const { folder, credential } = prepare(t)
  seal(Buffer.from('first'), credential, nowMs)
  t.is(thrownBy(() => seal(Buffer.from('x'), { ...credential, withKey: 'nonsense' }, nowMs))?.code, 'locked')
  t.deepEqual(readdirSync(join(folder, 'credentials')), ['store.key'])
  t.is(String(openSealed(credential)), 'first')
})

test('programs are not looked for where the environment of somebody else says', t => {
  const { folder, credential } = prepare(t)
  writeFileSync(join(folder, 'systemd-creds'), '#!/bin/sh\ncat\n')
  chmodSync(join(folder, 'systemd-creds'), 0o755)
  const path = process.env['PATH']
  process.env['PATH'] = `${folder}:${path}`
  try {
    seal(Buffer.from('secret'), credential, nowMs)
  } finally {
    process.env['PATH'] = path
  }
  t.is(String(openSealed(credential)), 'secret')
})
