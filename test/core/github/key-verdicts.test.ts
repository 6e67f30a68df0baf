// The order in which the keys of an App are tried, by what GitHub said of each.

import test from 'ava'
import { createKeyVerdicts } from '../../../src/core/github/key-verdicts.ts'
import { makeKey } from './fakes.ts'

const made = makeKey()
const keyOf = (fingerprint: string) => ({ ...made, fingerprint })
const keys = ['a', 'b', 'c'].map(keyOf)

const setUp = () => {
  let nowMs = 0
  const verdicts = createKeyVerdicts(() => nowMs)
  const order = (): string =>
    verdicts
      .inOrder(keys)
      .map(({ fingerprint }) => fingerprint)
      .join('')
  const pass = (ms: number): void => void (nowMs += ms)
  return { verdicts, order, pass }
}

test('keys are tried as they are given, but those that were rejected within the last minute come last', t => {
  const { verdicts, order, pass } = setUp()
  t.is(order(), 'abc')
  verdicts.note(keyOf('c'), 'works')
  t.is(order(), 'abc', 'one that works comes no earlier')
  verdicts.note(keyOf('a'), 'rejected')
  t.is(order(), 'bca')
  pass(30_000)
  verdicts.note(keyOf('b'), 'rejected')
  t.is(order(), 'cab')
  pass(30_000)
  t.is(order(), 'acb')
  pass(30_000)
  t.is(order(), 'abc')
  verdicts.note(keyOf('a'), 'rejected')
  verdicts.note(keyOf('a'), 'works')
  t.is(order(), 'abc', 'what was said last counts')
})

test('what was said of a key stays after its rest, and of a flood of keys not for ever', t => {
  const { verdicts, pass } = setUp()
  t.is(verdicts.find('a'), 'unknown')
  verdicts.note(keyOf('a'), 'rejected')
  pass(3_600_000)
  t.is(verdicts.find('a'), 'rejected')
  for (let at = 1; at < 64; at++) verdicts.note(keyOf(String(at)), 'works')
  verdicts.note(keyOf('a'), 'works')
  t.is(verdicts.find('63'), 'works')
  verdicts.note(keyOf('64'), 'works')
  t.is(verdicts.find('a'), 'unknown')
  t.is(verdicts.find('64'), 'works')
})
