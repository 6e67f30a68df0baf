import test from 'ava'
import { giveBack } from '../../src/service/memory.ts'

test('memory that is given back is gone at once', t => {
  const before = process.memoryUsage().arrayBuffers
  const bytes = Buffer.allocUnsafeSlow(2 ** 24)
  t.true(process.memoryUsage().arrayBuffers >= before + 2 ** 24)
  giveBack(bytes)
  t.is(bytes.length, 0)
  t.true(process.memoryUsage().arrayBuffers < before + 2 ** 24)
})

test('bytes in memory that Node shares between buffers stay', t => {
  const [one, other] = [Buffer.from('one'), Buffer.from('other')]
  const large = Buffer.from('x'.repeat((Buffer.poolSize >>> 1) - 1))
  for (const bytes of [one, large]) giveBack(bytes)
  t.is(one.toString(), 'one')
  t.is(other.toString(), 'other')
  t.is(large.length, (Buffer.poolSize >>> 1) - 1)
})
