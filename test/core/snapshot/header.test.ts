// The header: one spelling for one header, no key needed, nothing in it that steers a terminal.

import test from 'ava'
import * as fc from 'fast-check'
import { canonicalJson } from '../../../src/protocol/canonical-json.ts'
import { type BundleHeader, decodeHeader, encodeHeader } from '../../../src/core/snapshot/bundle.ts'
import { codeOf, failureOf, RECOVERY, SIGNER } from './samples.ts'

const HEADER: BundleHeader = {
  account: { login: 'octo-org', type: 'organization' },
  app_id: 918_273,
  created: '2026-01-02T03:04:05.006Z',
  format: 1,
  generation: 7,
  hostname: 'ghe.example.com',
  payload: { name: 'payload.age', sha256: 'ab'.repeat(32), size: 10 },
  recipients: [RECOVERY.recipient],
  signer: SIGNER.publicKey,
  state: 'connected',
}

const codeOfText = (text: string): Promise<string | undefined> => codeOf(() => decodeHeader(Buffer.from(text)))

test('a header is sorted, without spaces, and ends with a line break', t => {
  const text = Buffer.from(encodeHeader(HEADER)).toString()
  t.regex(text, /^\{"account":\{"login":"octo-org","type":"organization"\},"app_id":918273,.*"state":"connected"\}\n$/)
  t.notRegex(text, /[ \n](?=.)/)
})

test('any header is read back as it was, and written back to the same bytes', t => {
  const anyHeader: fc.Arbitrary<BundleHeader> = fc
    .record({
      app_id: fc.option(fc.integer({ min: 1 }), { nil: undefined }),
      generation: fc.nat(),
      hostname: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter(text => /^\P{C}+$/u.test(text)),
      created: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }),
      state: fc.constantFrom('disconnected', 'connected', 'suspended', 'key-lost'),
      size: fc.nat(),
      sealed: fc.boolean(),
    })
    .map(({ app_id, created, size, sealed, ...rest }) => ({
      ...HEADER,
      ...rest,
      ...(app_id === undefined ? {} : { app_id }),
      created: created.toISOString(),
      payload: { ...HEADER.payload, size, name: sealed ? 'payload.age' : 'payload.tar' },
      recipients: sealed ? HEADER.recipients : [],
    }))
  fc.assert(
    fc.property(anyHeader, header => {
      const bytes = encodeHeader(header)
      t.deepEqual(decodeHeader(bytes), header)
      t.deepEqual(encodeHeader(decodeHeader(bytes)), bytes)
    }),
  )
})

test('canonical JSON knows no order of fields', t => {
  const turned = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turned)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .toReversed()
        .map(([name, inner]) => [name, turned(inner)]),
    )
  }
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      t.is(canonicalJson(turned(value)), canonicalJson(value))
      t.is(canonicalJson(JSON.parse(canonicalJson(value))), canonicalJson(value))
    }),
  )
})

test('any other spelling of a header is refused', async t => {
  const text = Buffer.from(encodeHeader(HEADER)).toString()
  const others = [
    text.trimEnd(),
    `${text}\n`,
    ` ${text}`,
    `\ufeff${text}`,
    text.replace('"app_id":918273,', '"app_id": 918273,'),
    text.replace('"app_id":918273,', '"app_id":1,"app_id":918273,'),
    text.replace('"app_id":918273,', '"app_id":9.18273e5,'),
    text.replace('octo', '\\u006fcto'),
    `{"state":"connected",${text.slice(1).replace(',"state":"connected"', '')}`,
  ]
  for (const other of others) t.is(await codeOfText(other), 'bundle-corrupt', other)
})

test('a wrong field is named, and a strange one is not let in', async t => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ extra: 1 }, /malformed/],
    [{ app_id: '918273' }, /app_id/],
    [{ created: '2026-01-02' }, /created/],
    [{ generation: -1 }, /generation/],
    [{ hostname: '\u001b[2J' }, /hostname/],
    [{ hostname: '' }, /hostname/],
    [{ hostname: 'x'.repeat(256) }, /hostname/],
    [{ app_id: 0 }, /app_id/],
    [{ created: '2026-01-02T03:04:05Z' }, /created/],
    [{ payload: { ...HEADER.payload, size: -1 } }, /payload\.size/],
    [{ account: { login: 'x', type: 'team' } }, /account\.type/],
    [{ hostname: 'a\u202eb' }, /hostname/],
    [{ account: { login: 'x\ny', type: 'organization' } }, /account\.login/],
    [{ payload: { ...HEADER.payload, name: '../payload.age' } }, /payload\.name/],
    [{ payload: { ...HEADER.payload, sha256: 'AB'.repeat(32) } }, /payload\.sha256/],
    [{ recipients: ['age1\u001b[31m'] }, /recipients/],
    [{ recipients: Array(21).fill(RECOVERY.recipient) }, /recipients/],
    [{ recipients: [] }, /0 recipients for payload\.age/],
    [{ payload: { ...HEADER.payload, name: 'payload.tar' } }, /1 recipients for payload\.tar/],
    [{ signer: 'ghconnect-signer:abc' }, /signer/],
    [{ state: 'locked' }, /state/],
    [{ format: 0 }, /format/],
    [{ format: '1' }, /format/],
  ]
  for (const [change, expected] of cases) {
    const failure = await failureOf(() => decodeHeader(Buffer.from(`${canonicalJson({ ...HEADER, ...change })}\n`)))
    t.is(failure?.code, 'bundle-corrupt')
    t.regex(failure?.message ?? '', expected)
  }
})

test('a higher format is newer, whatever else the header holds', async t => {
  t.is(await codeOfText(`${canonicalJson({ ...HEADER, format: 2 })}\n`), 'bundle-newer')
  t.is(await codeOfText('{ "format": 3, "anything": [] }'), 'bundle-newer')
})

test('what is no JSON object is refused', async t => {
  for (const text of ['', '{', 'null', '[]', '"x"', '{}', '\xff', '['.repeat(60_000)]) {
    t.is(await codeOfText(text), 'bundle-corrupt')
  }
  t.is(await codeOf(() => decodeHeader(Buffer.of(0x22, 0xff, 0x22))), 'bundle-corrupt')
})
