// The daemon's unit: its limits of memory fit together, and the compiled code of the package is made with the flags of the unit.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'

const read = (path: string): string => readFileSync(join(import.meta.dirname, '../../systemd', path), 'utf8')
const unit = read('ghconnectd.service')
const valuesOf = (name: string): string[] =>
  [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, v = '']) => v)
const flagsIn = (text: string): string[] => / (--\S+(?: --\S+)*) \S*ghconnectd\.cjs/.exec(text)?.[1]?.split(' ') ?? []

test('the heap ends well below the limit of the unit, and nothing throttles before it', t => {
  t.deepEqual(valuesOf('MemoryMax'), ['384M'])
  const heap = flagsIn(unit).find(flag => flag.startsWith('--max-old-space-size='))
  const megabytes = Number(heap?.split('=')[1])
  t.true(megabytes >= 192 && megabytes <= 384 - 96, `${heap}: what is not heap takes up to 96 MB`)
  t.deepEqual(valuesOf('MemoryHigh'), [])
  t.deepEqual(valuesOf('MemorySwapMax'), ['0'])
})

test('the kernel may still choose the daemon when the machine is out of memory', t => {
  t.deepEqual(valuesOf('OOMScoreAdjust'), ['-250'])
})

test('the package compiles the code with the flags that the unit runs it with', t => {
  t.true(flagsIn(unit).length > 2)
  t.deepEqual(flagsIn(read('debian/postinst').replaceAll('"', '')), flagsIn(unit))
})
