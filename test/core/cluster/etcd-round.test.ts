// Turns among the members of etcd, which are fakes: who is asked, how long, and what counts as within reach.

import test from 'ava'
import { createRound, endStream, type Member } from '../../../src/core/cluster/etcd-round.ts'
import { failureOf, createFakeClock, createFakeLog } from '../../support/fakes.ts'

const DEADLINE_MS = 6_000

/** What a member does with a call: undefined answers with its number. */
type Doing = Error | 'hangs' | undefined

const setUp = (size: number) => {
  const clock = createFakeClock()
  const log = createFakeLog()
  const calls: { readonly member: number; readonly leftMs: number }[] = []
  const streams: number[] = []
  const forgotten: number[] = []
  const closed: number[] = []
  const doing: Doing[] = Array.from({ length: size }, () => undefined)
  const members = Array.from(
    { length: size },
    (_, at): Member<number> => ({
      async run(operation, deadline) {
        calls.push({ member: at, leftMs: deadline - clock.now() })
        const what = doing[at]
        if (what === 'hangs') await clock.sleep(deadline - clock.now())
        if (what !== undefined) throw what === 'hangs' ? new Error('deadline') : what
        return operation(at, { deadline })
      },
      async stream(open) {
        streams.push(at)
        return open(at)
      },
      forget: () => void forgotten.push(at),
      close: () => void closed.push(at),
    }),
  )
  const isPassing = (error: Error): boolean => !error.message.includes('denied')
  const round = createRound({ members, isPassing, clock, log, deadlineMs: DEADLINE_MS })
  const reach: boolean[] = []
  round.onReachable(now => reach.push(now))
  const call = () => round.call(async member => member)
  return { clock, log, round, doing, calls, streams, forgotten, closed, reach, call }
}

const asked = ({ calls }: ReturnType<typeof setUp>): number[] => calls.map(({ member }) => member)

test('the member that answered last is asked first, and the next one where it fails', async t => {
  const scene = setUp(3)
  const { round, doing, call, reach, log } = scene
  t.false(round.isReachable())
  t.is(round.silentMs(), Number.POSITIVE_INFINITY)
  t.is(await call(), 0)
  doing[0] = doing[1] = new Error('connection refused')
  t.is(await call(), 2)
  doing[0] = undefined
  t.is(await call(), 2, 'it is not left while it answers')
  t.deepEqual(asked(scene), [0, 0, 1, 2, 2])
  t.true(round.isReachable())
  t.deepEqual(reach, [true])
  t.deepEqual(
    log.lines.map(({ message }) => message),
    ['etcd is within reach'],
  )
})

test('members that hang share the time of one call', async t => {
  const scene = setUp(3)
  const { clock, doing, call, calls } = scene
  doing[0] = doing[1] = 'hangs'
  const began = clock.monotonic()
  const answered = call()
  await clock.advance(DEADLINE_MS)
  t.is(await answered, 2)
  t.true(calls.every(({ leftMs }) => leftMs <= DEADLINE_MS / 2))
  doing[2] = 'hangs'
  const failed = t.throwsAsync(call())
  await clock.advance(DEADLINE_MS)
  await failed
  t.true(clock.monotonic() - began <= 2 * DEADLINE_MS)
})

test('where nobody answers, each is tried and one once more, and etcd is out of reach until one does', async t => {
  const scene = setUp(2)
  const { round, doing, call, reach, log, clock } = scene
  await call()
  await clock.advance(500)
  t.is(round.silentMs(), 500)
  doing[0] = doing[1] = new Error('connection refused')
  await t.throwsAsync(call(), { message: 'connection refused' })
  t.deepEqual(asked(scene), [0, 0, 1, 0])
  t.false(round.isReachable())
  t.is(round.silentMs(), 500, 'a failure is no answer')
  await t.throwsAsync(call())
  doing[0] = doing[1] = undefined
  await call()
  t.deepEqual(reach, [true, false, true], 'each change is told once')
  t.deepEqual(
    log.lines.map(({ message }) => message),
    ['etcd is within reach', 'etcd is out of reach', 'etcd is within reach'],
  )
})

test('members that have no leader for now are asked until the deadline, a moment apart', async t => {
  const scene = setUp(2)
  const { clock, doing, call } = scene
  doing[0] = doing[1] = new Error('etcdserver: no leader')
  const answered = call()
  await clock.advance(1_000)
  t.true(scene.calls.length > 3 && scene.calls.length < 15, `${scene.calls.length} calls`)
  doing[0] = doing[1] = undefined
  await clock.advance(100)
  t.true([0, 1].includes(await answered))
  doing[0] = doing[1] = new Error('etcdserver: no leader')
  const failed = t.throwsAsync(call())
  await clock.advance(DEADLINE_MS)
  await failed
  t.false(scene.round.isReachable())
})

test('a refusal is an answer: nobody else is asked, and etcd is within reach', async t => {
  const scene = setUp(2)
  const { round, doing, call, clock } = scene
  doing[0] = new Error('permission denied')
  await t.throwsAsync(call(), { message: 'permission denied' })
  t.deepEqual(asked(scene), [0])
  t.true(round.isReachable())
  await clock.advance(10)
  t.is(round.silentMs(), 10)
})

test('each stream goes to another member, and all forget and close together', async t => {
  const scene = setUp(3)
  const { round, streams, forgotten, closed, call, reach } = scene
  for (let times = 0; times < 4; times++) t.is(await round.stream(async member => member), times % 3)
  t.deepEqual(streams, [0, 1, 2, 0])
  round.forget()
  t.deepEqual(forgotten, [0, 1, 2])
  await call()
  round.close()
  t.deepEqual(closed, [0, 1, 2])
  t.false(round.isReachable())
  t.is((await failureOf(call())).code, 'cluster-unreachable')
  t.is((await failureOf(round.stream(async member => member))).code, 'cluster-unreachable')
  t.deepEqual(reach, [true], 'nobody is told after the end')
})

test('a stream is ended before it is cancelled', t => {
  const done: string[] = []
  endStream({ end: () => void done.push('end'), cancel: () => void done.push('cancel') })
  t.deepEqual(done, ['end', 'cancel'])
})
