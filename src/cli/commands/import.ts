// `ghconnect import`: connects with an App that exists already, by its id and private key.

import { readFile } from 'node:fs/promises'
import { Failure } from '../../domain/errors.ts'
import { Secret } from '../../domain/secret.ts'
import { StateAnswer } from '../../domain/wire.ts'
import { type CommandSpec, type Context, JSON_OPTION, type Options } from '../command.ts'

export const importApp: CommandSpec = {
  name: 'import',
  summary: 'connect this machine with an existing GitHub App',
  details: `The key is the PEM file that the App's settings page offers for download. It is tried with GitHub before it is stored;
delete the file afterwards.`,
  options: [
    { flags: '--app-id ID', description: 'the App ID (a number)' },
    { flags: '--client-id ID', description: "the App's client ID, in place of its App ID" },
    { flags: '--key FILE', description: 'the private key (PEM); - reads it from standard input' },
    { flags: '--account NAME', description: 'the account that the App has to belong to' },
    JSON_OPTION,
  ],
  examples: [
    'ghconnect import --app-id 12345 --key octo-app.2026-07-01.private-key.pem',
    'pass show octo-app | ghconnect import --client-id Iv23liAbCdEf --key -',
  ],
  async run(context, { options }) {
    const { output } = context
    const identity = readIdentity(options)
    const file = options.text('key')
    if (file === undefined) throw new Failure('usage', '--key FILE is missing')
    const account = options.text('account')
    const key = await readKey(context, file)
    const client = await context.client('admin')
    const answer = await client.call({
      method: 'POST',
      path: '/v1/connection/import',
      body: { ...identity, private_key: key.reveal(), ...(account !== undefined && { account }) },
      answer: StateAnswer,
    })
    if (options.flag('json')) output.json(answer)
    else {
      output.line(answer.meaning)
      if (answer.state !== 'connected') output.line(answer.next)
    }
    return 0
  },
}

const readIdentity = (options: Options): { app_id: number } | { client_id: string } => {
  const appId = options.text('appId')
  const clientId = options.text('clientId')
  if (appId !== undefined && clientId === undefined) {
    if (/^[1-9]\d{0,14}$/.test(appId)) return { app_id: Number(appId) }
    throw new Failure('usage', `--app-id ${appId}: must be a number; a client ID goes with --client-id`)
  }
  if (clientId !== undefined && appId === undefined) return { client_id: clientId }
  throw new Failure('usage', 'give either --app-id or --client-id')
}

/** A key of 8192 bits is 6 kB of PEM; what is longer is another file. */
const MAX_KEY_BYTES = 16_384

const readKey = async ({ deps }: Context, file: string): Promise<Secret> => {
  const bytes = file === '-' ? await readAll(deps.stdin) : await readFile(file).catch(explain(file))
  if (bytes.length === 0) throw new Failure('invalid-key', `${file}: is empty`)
  if (bytes.length > MAX_KEY_BYTES) throw new Failure('invalid-key', `${file}: is too long for a private key`)
  return new Secret(bytes.toString('utf8'))
}

const explain =
  (file: string) =>
  (cause: unknown): never => {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    throw new Failure('io', `${file}: cannot be read (${why})`, { cause })
  }

const readAll = async (stream: AsyncIterable<Buffer | string>): Promise<Buffer> => {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > MAX_KEY_BYTES) break
  }
  return Buffer.concat(chunks)
}
