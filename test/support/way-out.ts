// The settings of the way out, with the proxy as text.

import type { ProxySettings } from '../../src/core/outbound/outbound.ts'
import { parseProxyAddress } from '../../src/service/proxy.ts'

export type WayOut = {
  readonly url?: string | undefined
  readonly exclude?: readonly string[]
  readonly ca?: string | undefined
}

export const settingsOf = ({ url, exclude = [], ca }: WayOut): ProxySettings => ({
  proxy: url === undefined ? undefined : parseProxyAddress(url),
  exclude,
  ca,
})
