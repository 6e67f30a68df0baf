// Mutations of HTTP requests. Framed ones are sent on kept connections and have one answer each; broken ones may be anything.

import { METHODS } from 'node:http'
import type { Sample } from './fuzz-corpus.ts'
import type { Seeded } from './seeded.ts'

export type Draft = {
  method: string
  target: string
  headers: [string, string][]
  body: Buffer | undefined
  chunked: boolean
}

const HEADERS: readonly (readonly [string, string])[] = [
  ['accept', 'text/event-stream'],
  ['accept', 'application/x-ndjson'],
  ['accept-language', 'ja, *;q=0.1'],
  ['connection', 'close'],
  ['connection', 'upgrade, x-a'],
  ['content-encoding', 'gzip'],
  ['content-type', 'application/json; charset=utf-16'],
  ['content-type', 'multipart/form-data; boundary='],
  ['content-type', 'text/plain'],
  ['cookie', 'ghconnect_session=; ghconnect_session=%; __proto__=1'],
  ['expect', '100-continue'],
  ['expect', 'nothing'],
  ['host', 'evil.example'],
  ['host', ''],
  ['host', '[::1'],
  ['if-none-match', '*'],
  ['origin', 'null'],
  ['range', 'bytes=0-'],
  ['referer', 'http://localhost/'],
  ['sec-fetch-dest', 'empty'],
  ['sec-fetch-site', 'same-origin'],
  ['te', 'trailers'],
  ['upgrade', 'h2c'],
  ['via', '1.1 x'],
  ['x-forwarded-host', 'a b'],
  ['x-forwarded-user', 'root'],
  ['x-http-method-override', 'DELETE'],
  ['__proto__', 'x'],
]
const TEXTS = [
  '',
  ' ',
  '..',
  '%00',
  '%',
  '%ff',
  '%2f',
  '//',
  '*',
  '\\',
  "'",
  '"',
  'é',
  '__proto__',
  'constructor',
  '0',
  '-1',
  '1e309',
  'null',
  'a'.repeat(300),
]
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  '\n',
  '\u0000',
  '\u001b[2J',
  '\u202e',
  '\ud800',
  '*',
  '..',
  'x'.repeat(65),
  'x'.repeat(2_000),
  [],
  {},
  [[]],
  [null],
  { __proto__: 1 },
  { constructor: {} },
  'octo-org',
  ['web', 'web'],
]

/** One to three changes, now and then none. */
export const mutate = (sample: Sample, random: Seeded): Draft => {
  const draft: Draft = {
    method: sample.method,
    target: sample.target,
    headers: sample.headers.map(([name, value]) => [name, value]),
    body: sample.body === undefined ? undefined : Buffer.from(sample.body),
    chunked: false,
  }
  const changes = random.int(4)
  for (let n = 0; n < changes; n += 1) random.pick(CHANGES)(draft, random)
  return draft
}

type Change = (draft: Draft, random: Seeded) => void

const changeBytes: Change = (draft, random) => {
  if (draft.body && draft.body.length > 0) draft.body = edited(draft.body, random)
}
const changeJson: Change = (draft, random) => {
  if (draft.body === undefined || draft.body.length > 20_000) return
  try {
    const root: unknown = JSON.parse(draft.body.toString())
    draft.body = Buffer.from(JSON.stringify(changed(root, random)))
  } catch {
    changeBytes(draft, random)
  }
}
const CHANGES: readonly Change[] = [
  changeJson,
  changeJson,
  changeJson,
  changeBytes,
  changeBytes,
  (draft, random) => {
    draft.method = random.once(4)
      ? random.pick(METHODS)
      : random.pick(['GET', 'POST', 'DELETE', 'HEAD', 'OPTIONS', 'PUT'])
  },
  (draft, random) => {
    draft.target += random.pick(TEXTS).replaceAll(/[^!-~]/g, '%20')
  },
  (draft, random) => {
    const at = 1 + random.int(draft.target.length)
    draft.target =
      draft.target.slice(0, at) +
      random.pick(['/', '%2e', '?', '&', '#', '=', '%', 'x', ':']) +
      draft.target.slice(at + random.int(3))
  },
  (draft, random) => {
    const key = random.pick(['after', 'limit', 'follow', 'local', 'wait', 'lang', 'fingerprint', '__proto__', 'x'])
    draft.target += `${draft.target.includes('?') ? '&' : '?'}${key}=${encodeURIComponent(random.pick(TEXTS))}`
  },
  (draft, random) => {
    const [name, value] = random.pick(HEADERS)
    draft.headers.push([name, value])
  },
  draft => {
    draft.headers.push(['connection', 'upgrade'], ['upgrade', 'h2c'])
  },
  (draft, random) => {
    const at = random.int(draft.headers.length)
    if (random.once(2)) draft.headers.splice(at, 1)
    else draft.headers.splice(at, 0, ...draft.headers.slice(at, at + 1))
  },
  (draft, random) => {
    const header = draft.headers[random.int(draft.headers.length)]
    if (header)
      header[1] = edited(Buffer.from(header[1]), random)
        .toString('latin1')
        .replaceAll(/[^\t -~\u0080-\u00ff]/g, '')
  },
  (draft, random) => {
    draft.headers.push([`x-${random.letters(4)}`, 'v'.repeat(random.int(9_000))])
  },
  draft => {
    draft.chunked = true
    draft.body ??= Buffer.from('{}')
  },
  (draft, random) => {
    draft.body = Buffer.alloc(random.pick([0, 1, 16, 4_096, 65_537]), random.pick(['{', '[', ' ', 'a', '"', '\u0000']))
  },
]

/** Somewhere in it another value, a key more or a key less. */
const changed = (value: unknown, random: Seeded): unknown => {
  if (typeof value !== 'object' || value === null || random.once(5)) return random.pick(VALUES)
  if (Array.isArray(value)) {
    const at = random.int(value.length + 1)
    return random.once(3)
      ? [...value, ...value, random.pick(VALUES)]
      : value.with(Math.min(at, Math.max(0, value.length - 1)), changed(value[at], random))
  }
  const entries = Object.entries(value)
  if (entries.length === 0 || random.once(4))
    return { ...value, [random.pick(['x', '__proto__', 'force', ...entries.map(([key]) => key)])]: random.pick(VALUES) }
  const [key, inner] = random.pick(entries)
  if (random.once(4)) return Object.fromEntries(entries.filter(([other]) => other !== key))
  return { ...value, [key]: changed(inner, random) }
}

/** Bytes flipped, put in, left out, repeated or cut off. */
export const edited = (bytes: Buffer, random: Seeded): Buffer => {
  let now = Buffer.from(bytes)
  for (let n = 1 + random.int(4); n > 0; n -= 1) {
    const at = random.int(Math.max(1, now.length))
    const kind = random.int(5)
    if (kind === 0) now[at] = (now[at] ?? 0) ^ (1 << random.int(8))
    else if (kind === 1) now = Buffer.concat([now.subarray(0, at), Buffer.from([random.int(256)]), now.subarray(at)])
    else if (kind === 2) now = Buffer.concat([now.subarray(0, at), now.subarray(at + 1 + random.int(4))])
    else if (kind === 3) now = Buffer.concat([now.subarray(0, at), now.subarray(Math.max(0, at - 8))])
    else if (random.once(4)) now = now.subarray(0, at)
  }
  return now
}

/** The bytes of a request that says truly how long it is. */
export const framed = ({ method, target, headers, body, chunked }: Draft, random: Seeded): Buffer => {
  const own = headers.filter(([name]) => name !== 'content-length' && name !== 'transfer-encoding')
  const lines = own.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const length =
    body === undefined ? '' : chunked ? 'transfer-encoding: chunked\r\n' : `content-length: ${body.length}\r\n`
  const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines}${length}\r\n`, 'latin1')
  if (body === undefined) return head
  if (!chunked) return Buffer.concat([head, body])
  const parts: Buffer[] = [head]
  for (let at = 0; at < body.length; ) {
    const piece = body.subarray(at, at + 1 + random.int(body.length))
    parts.push(
      Buffer.from(`${piece.length.toString(16)}${random.once(8) ? ';x=y' : ''}\r\n`),
      piece,
      Buffer.from('\r\n'),
    )
    at += piece.length
  }
  parts.push(Buffer.from(random.once(8) ? '0\r\nx-trailer: 1\r\n\r\n' : '0\r\n\r\n'))
  return Buffer.concat(parts)
}

/** The bytes of one that lies about its length, or has errors anywhere. */
export const broken = (draft: Draft, random: Seeded): Buffer => {
  const bytes = framed(draft, random)
  const kind = random.int(4)
  if (kind === 0) return bytes.subarray(0, random.int(bytes.length))
  if (kind === 1) {
    const lie = random.pick([
      'content-length: 3',
      'content-length: -1',
      'content-length: 99999',
      'transfer-encoding: chunked',
      'transfer-encoding: gzip, chunked',
      'content-length: 1\r\ncontent-length: 2',
    ])
    return Buffer.from(bytes.toString('latin1').replace('\r\n', `\r\n${lie}\r\n`), 'latin1')
  }
  return edited(bytes, random)
}
