// `ghconnect git-credential`: git's credential protocol on standard input and output; it keeps nothing.

import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { Failure } from '../../domain/errors.ts'
import { GIT_CREDENTIAL } from '../../domain/git-credential.ts'
import type { CommandSpec } from '../command.ts'

const MAX_INPUT_BYTES = 65_536

export const gitCredential: CommandSpec = {
  name: 'git-credential',
  summary: 'answer git as a credential helper',
  details: `git calls it with get, store or erase. Only hosts of the configured GitHub are answered for; store does nothing.
The package has the same as /usr/lib/ghconnectd/git-credential-ghconnect, which starts three times as fast.`,
  arguments: [{ name: 'operation', description: "git's word", choices: ['get', 'store', 'erase'] }],
  options: [{ flags: '--profile NAME', description: 'the profile to ask under; needed where several would do' }],
  examples: ["git config --global credential.https://github.com.helper '!ghconnect git-credential'"],
  async run(context, { options, args }) {
    const [operation = ''] = args
    if (!['get', 'store', 'erase'].includes(operation))
      throw new Failure('usage', `${operation}: must be get, store or erase`)
    if (operation === 'store') return 0
    const { password, attributes } = split(await readAll(context.deps.stdin))
    if (operation === 'erase' && password === undefined) return 0
    const profile = options.text('profile')
    const text = [
      ...(profile === undefined ? [] : [`profile=${profile}`]),
      ...attributes,
      ...(operation === 'erase' && password !== undefined ? [`rejected=${hash(password)}`] : []),
    ].join('\n')
    const client = await context.client('token')
    const answer = await client.exchangeText({ path: '/v1/tokens', type: GIT_CREDENTIAL, text: `${text}\n` })
    context.deps.stdout.write(answer)
    return 0
  },
}

/** Whatever password git holds may be somebody else's: nothing but its hash leaves this process. */
const split = (input: string): { password?: string; attributes: string[] } => {
  const [block = ''] = input.split(/\r?\n\r?\n/)
  const lines = block.split(/\r?\n/).filter(line => line !== '')
  const password = lines.findLast(line => line.startsWith('password='))?.slice('password='.length)
  const attributes = lines.filter(line => !line.startsWith('password='))
  return { attributes, ...(password !== undefined && { password }) }
}

const hash = (password: string): string => createHash('sha256').update(password).digest('base64')

const readAll = async (stdin: Readable): Promise<string> => {
  let text = ''
  for await (const chunk of stdin) {
    text += String(chunk)
    if (text.length > MAX_INPUT_BYTES) throw new Failure('usage', 'standard input is no credential of git')
  }
  return text
}
