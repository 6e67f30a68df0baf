import test from 'ava'
import * as fc from 'fast-check'
import { createExclusions } from '../../src/service/proxy-exclusions.ts'

const excludes = (entry: string, url: string): boolean => createExclusions([entry])(new URL(url))

const CASES: readonly [entry: string, hits: readonly string[], misses: readonly string[]][] = [
  ['*', ['https://a.b', 'http://[::1]:1'], []],
  [
    'ghe.test',
    ['https://ghe.test', 'https://GHE.test:8443', 'http://ghe.test./'],
    ['https://a.ghe.test', 'https://ghe.test.evil'],
  ],
  ['Ghe.Test:8443', ['https://ghe.test:8443'], ['https://ghe.test']],
  [
    '.internal',
    ['https://a.internal', 'https://a.b.internal', 'https://internal'],
    ['https://ainternal', 'https://internal.a'],
  ],
  ['*.internal', ['https://a.internal'], ['https://internal']],
  ['10.0.0.1', ['https://10.0.0.1', 'https://[::ffff:10.0.0.1]'], ['https://10.0.0.2', 'https://10.0.0.1.test']],
  ['10.0.0.1:443', ['https://10.0.0.1'], ['http://10.0.0.1']],
  ['10.0.0.0/8', ['https://10.255.0.1'], ['https://11.0.0.1', 'https://ten.test']],
  ['0.0.0.0/0', ['https://1.2.3.4'], ['https://name.test']],
  ['::1', ['https://[::1]', 'https://[::1]:9'], ['https://[::2]', 'https://127.0.0.1']],
  ['[::1]', ['https://[::1]'], ['https://[::2]']],
  ['[fd00::1]:443', ['https://[fd00::1]'], ['https://[fd00::1]:444']],
  ['fd00::/8', ['https://[fd12:3456::1]'], ['https://[fe80::1]']],
]
for (const [entry, hits, misses] of CASES) {
  test(`${entry} matches what it should`, t => {
    t.deepEqual(
      hits.filter(url => !excludes(entry, url)),
      [],
    )
    t.deepEqual(
      misses.filter(url => excludes(entry, url)),
      [],
    )
  })
}

test('entries that are no host, suffix or block are refused', t => {
  for (const entry of [
    '',
    ' ',
    '10.0.0.0/33',
    '10.0.0',
    '10.*',
    '300.1.1.1',
    'fd00::/129',
    'a b',
    'http://a',
    'a/8',
    'a..b',
    '[::1',
    '.',
  ]) {
    t.throws(() => createExclusions([entry]), { code: 'configuration' }, entry)
  }
})

const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/)
const host = fc.array(label, { minLength: 2, maxLength: 4 }).map(labels => labels.join('.'))

test('property: a name excludes itself alone, a suffix all below it and nothing beside it', t => {
  fc.assert(
    fc.property(host, label, (name, below) => {
      t.true(excludes(name, `https://${name}`))
      t.false(excludes(name, `https://${below}.${name}`))
      t.true(excludes(`.${name}`, `https://${below}.${name}`))
      t.false(excludes(`.${name}`, `https://${below}${name}`))
      t.false(excludes(`.${name}`, `https://${name}.${below}`))
    }),
  )
  t.pass()
})

const dotted = (n: number): string => [24, 16, 8, 0].map(shift => (n >>> shift) & 255).join('.')

test('property: a block excludes an address just where the first bits are alike', t => {
  const address = fc.nat(0xffffffff)
  fc.assert(
    fc.property(address, address, fc.integer({ min: 1, max: 32 }), (a, b, bits) => {
      const alike = a >>> (32 - bits) === b >>> (32 - bits)
      t.is(excludes(`${dotted(a)}/${bits}`, `https://${dotted(b)}`), alike)
      t.true(excludes(`${dotted(a)}/${bits}`, `https://${dotted(a)}`))
    }),
  )
  t.pass()
})

test('property: the list excludes what one of its entries does, in any order', t => {
  fc.assert(
    fc.property(fc.array(host, { maxLength: 5 }), host, (entries, name) => {
      const url = new URL(`https://${name}`)
      t.is(createExclusions(entries)(url), entries.includes(name))
      t.is(createExclusions(entries.toReversed())(url), entries.includes(name))
    }),
  )
  t.pass()
})
