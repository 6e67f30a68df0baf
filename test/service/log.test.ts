import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import * as fc from 'fast-check'
import { Failure } from '../../src/protocol/errors.ts'
import { Secret } from '../../src/protocol/secret.ts'
import { createLog, describeError, type Fields, type LogLevel, redact } from '../../src/service/log.ts'

const written = (journal: boolean, level: LogLevel, write: (log: ReturnType<typeof createLog>) => void): string => {
  const lines: string[] = []
  write(createLog({ level, journal, write: line => lines.push(line) }))
  return lines.join('')
}

test('for the journal a line is its priority, the message and the fields', t => {
  const line = written(true, 'info', log => log.warn('refresh failed', { installation: 7, account: 'octo org' }))
  t.is(line, '<4>refresh failed installation=7 account="octo org"\n')
})

test('each level has its priority, and what is said of it is written at it', t => {
  for (const [level, priority] of [
    ['debug', 7],
    ['info', 6],
    ['warn', 4],
    ['error', 3],
  ] as const) {
    t.is(
      written(true, 'debug', log => log[level]('x')),
      `<${priority}>x\n`,
    )
    t.is(JSON.parse(written(false, 'debug', log => log[level]('x'))).level, level)
  }
})

test('a line of JSON tells its time as others do, and nothing that was not asked for', t => {
  const line = JSON.parse(written(false, 'info', log => log.info('x', { a: 1 })))
  t.deepEqual(Object.keys(line).toSorted(), ['a', 'level', 'message', 'time'])
  t.is(new Date(line.time).toISOString(), line.time)
})

test('elsewhere a line is JSON', t => {
  const line = written(false, 'info', log => log.error('refresh failed', { error: new Failure('dns', 'no address') }))
  t.like(JSON.parse(line), { level: 'error', message: 'refresh failed', error: 'dns: no address' })
})

test('what is below the level is not written', t => {
  t.is(
    written(true, 'warn', log => (log.info('a'), log.debug('b'), log.error('c'))),
    '<3>c\n',
  )
})

test('the journal is given each field by its name, and a line where it does not take that', t => {
  const entries: Readonly<Record<string, string>>[] = []
  const lines: string[] = []
  const options = { level: 'info', journal: true, write: (line: string) => void lines.push(line) } as const
  const fields = { installation: 7, grantedTo: 'octo org', key: `ghs_${'a'.repeat(36)}`, absent: undefined }
  createLog({ ...options, send: entry => void entries.push(entry) }).warn('refresh failed', fields)
  t.is(lines.length, 0)
  t.like(entries[0], {
    MESSAGE: 'refresh failed installation=7 grantedTo="octo org" key=[secret] absent=undefined',
    PRIORITY: '4',
    SYSLOG_IDENTIFIER: 'ghconnectd',
    GHCONNECT_INSTALLATION: '7',
    GHCONNECT_GRANTED_TO: 'octo org',
    GHCONNECT_KEY: '[secret]',
  })
  t.false('GHCONNECT_ABSENT' in (entries[0] ?? {}))
  const send = (): never => {
    throw new Error('EMSGSIZE')
  }
  createLog({ ...options, send }).error('too long')
  t.deepEqual(lines, ['<3>too long\n'])
})

test('a message of several lines is one line of the journal', t => {
  t.is(written(true, 'info', log => log.info('a\n<0>b', { c: 'd\ne' })).split('\n').length, 2)
})

test('an error is told with its causes, and only the unexpected with its place', t => {
  const cause = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' })
  t.is(
    describeError(new Failure('unreachable', 'github.com', { cause })),
    'unreachable: github.com <- ECONNREFUSED: connect refused',
  )
  t.regex(describeError(new Failure('internal', 'unexpected', { cause: new Error('bug') })), /bug <- at .*log\.test/)
  t.regex(describeError(new TypeError('x is not a function')), /^x is not a function <- at .*log\.test/)
  const circle = new Failure('io', 'again')
  circle.cause = circle
  t.regex(describeError(circle), /^io: again(?: <- io: again){0,20}$/)
})

test('a Secret shows itself as such', t => {
  for (const journal of [true, false]) {
    const text = written(journal, 'info', log =>
      log.info(`x ${String(new Secret('hidden'))}`, { a: new Secret('hidden') }),
    )
    t.false(text.includes('hidden'))
    t.true(text.includes('[secret]'))
  }
})

const alphabet = (characters: string) => fc.constantFrom(...characters.split(''))
const word = (characters: string, size: { minLength: number; maxLength: number }) =>
  fc.array(alphabet(characters), size).map(list => list.join(''))
const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const BASE64 = `${ALNUM}+/`

const token = fc
  .tuple(fc.constantFrom('ghs_', 'ghp_', 'gho_', 'ghu_', 'ghr_'), word(ALNUM, { minLength: 36, maxLength: 80 }))
  .map(([prefix, rest]) => ({ secret: prefix + rest, core: rest }))
const stateless = fc
  .array(word(`${ALNUM}-_`, { minLength: 20, maxLength: 60 }), { minLength: 3, maxLength: 3 })
  .map(parts => ({ secret: `ghs_${parts.join('.')}`, core: parts.join('.') }))
const pem = fc
  .tuple(fc.constantFrom('RSA ', 'EC ', 'ENCRYPTED ', ''), word(BASE64, { minLength: 64, maxLength: 300 }))
  .map(([kind, body]) => ({
    secret: `-----BEGIN ${kind}PRIVATE KEY-----\n${(body.match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${kind}PRIVATE KEY-----\n`,
    core: body.slice(0, 60),
  }))
const ageKey = word('023456789ACDEFGHJKLMNPQRSTUVWXYZ', { minLength: 58, maxLength: 58 }).map(rest => ({
  secret: `AGE-SECRET-KEY-1${rest}`,
  core: rest,
}))
const jwt = fc
  .array(word(`${ALNUM}-_`, { minLength: 20, maxLength: 60 }), { minLength: 3, maxLength: 3 })
  .map(([head, body, signature = '']) => ({ secret: `eyJ${head}.eyJ${body}.${signature}`, core: signature }))
const anySecret = fc.oneof(token, stateless, jwt, pem, ageKey)

test('property: no token, private key or age key survives, wherever it stands', t => {
  fc.assert(
    fc.property(anySecret, fc.string(), fc.string(), fc.boolean(), ({ secret, core }, before, after, journal) => {
      const fields: Fields = {
        plain: secret,
        within: `${before} ${secret} ${after}`,
        nested: { list: [secret], json: JSON.stringify({ token: secret }) },
        error: new Failure('io', secret, { cause: new Error(secret) }),
      }
      const text = written(journal, 'info', log => log.info(`${before} ${secret} ${after}`, fields))
      t.false(text.includes(core), text)
      t.true(text.includes('[secret]'))
    }),
  )
  t.pass()
})

test('property: what holds no secret stays as it is', t => {
  fc.assert(fc.property(fc.string({ maxLength: 30 }), text => redact(text) === text))
  t.is(redact('ghs_short and -----BEGIN CERTIFICATE-----'), 'ghs_short and -----BEGIN CERTIFICATE-----')
})

test('whoever logs goes on when the reader of its lines has gone', async t => {
  const program = `
    import { createLog } from '${new URL('../../src/service/log.ts', import.meta.url).href}'
    const log = createLog({ level: 'info', journal: false })
    log.info('first')
    process.stdin.once('data', () => {
      for (let n = 0; n < 3; n += 1) setTimeout(() => log.info('nobody reads this'), n * 10)
      setTimeout(() => process.stdout.write('alive'), 100)
    })
    process.stdin.once('end', () => process.exit())`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program])
  const [first] = await once(child.stderr, 'data')
  t.regex(String(first), /first/)
  child.stderr.destroy()
  await once(child.stderr, 'close')
  child.stdin.write('go on\n')
  const [said = 'nothing'] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  t.is(String(said), 'alive')
  child.stdin.end()
  await once(child, 'exit')
})
