// The settings of the way out, with the proxy as text.

import type { ProxySettings } from '../../src/platform/outbound.ts'
import { parseProxyAddress } from '../../src/platform/proxy-address.ts'

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
