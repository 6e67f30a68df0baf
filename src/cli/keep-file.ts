// Keeps a file in step with a token: written at each new one, kept where something fails, removed where the token is void.

import { asFailure, type Failure } from '../protocol/errors.ts'
import type { TokenAnswer, TokenRequest } from '../protocol/wire.ts'
import type { Context, SocketName } from './command.ts'
import { followToken } from './follow.ts'
import type { TokenFile } from './token-file.ts'

export type Keeping = {
  readonly request: TokenRequest
  readonly file: TokenFile
  readonly socket: SocketName
  readonly signal: AbortSignal
  write(answer: TokenAnswer): string
  /** What happened, in a sentence; `fresh`: the file holds a token that was just taken. */
  onNews?(news: string, fresh: boolean): void
}

/** Resolves when it is ended. Throws `configuration` where the path turns out to be none that may be written. */
export const keepFile = async (context: Context, keeping: Keeping): Promise<void> => {
  const { output, deps } = context
  const { file, request, signal, onNews = () => {} } = keeping
  let told = ''
  const tell = (failure: Failure, effect: string): void => {
    const text = `${failure.entry.title}: ${failure.message}. ${effect}`
    if (text !== told) output.note(`ghconnect: ${text}`)
    told = text
    onNews(text, false)
  }
  await followToken({
    client: await context.client(keeping.socket),
    clock: deps.clock,
    request,
    signal,
    onToken(answer) {
      try {
        file.write(keeping.write(answer))
      } catch (error) {
        const failure = asFailure(error)
        if (failure.code === 'configuration') throw failure
        tell(failure, 'The former token stays in the file.')
        return false
      }
      told = ''
      onNews(`holds a token until ${answer.expires_at}`, true)
      return true
    },
    onPolling: () =>
      output.note('ghconnect: the daemon refuses an event stream; asking for the token each minute instead'),
    onFailure(failure, { lost }) {
      if (lost) file.remove()
      tell(failure, lost ? 'The file is removed.' : 'The file stays as it is.')
    },
  })
}
