// A token as the text of a file or a systemd credential.

import type { TokenAnswer } from './wire.ts'

export type TokenFormat = 'token' | 'env' | 'json' | 'netrc'

/** `token`: nothing but the token, without a line end, as programs send it on as it is. */
export const writeToken = (
  format: TokenFormat,
  answer: TokenAnswer,
  github: { readonly url: string; readonly apiUrl: string },
): string => {
  const { token } = answer
  switch (format) {
    case 'token':
      return token
    case 'env':
      return `GH_TOKEN=${token}\nGITHUB_TOKEN=${token}\n`
    case 'json':
      return `${JSON.stringify(answer)}\n`
    case 'netrc':
      return [...new Set([github.url, github.apiUrl].map(url => new URL(url).hostname))]
        .map(host => `machine ${host} login x-access-token password ${token}\n`)
        .join('')
    default:
      return format satisfies never
  }
}
