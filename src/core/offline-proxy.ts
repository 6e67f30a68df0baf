// The web proxy as the daemon has it, for a process without the daemon's credentials: its settings, or why it cannot know them.

import { accessSync, constants } from 'node:fs'
import { dirname, join } from 'node:path'
import { asFailure } from '../protocol/errors.ts'
import { Secret } from '../protocol/secret.ts'
import { isRoot } from '../service/owner.ts'
import { type ProxyKeys, type ProxySettings, passwordIn, proxySettingsFrom } from '../service/proxy-settings.ts'
import { openSealed } from '../service/sealed-credential.ts'
import { sealedStoreKey } from './store/machine-key.ts'

export type OfflineProxy =
  | { readonly settings: ProxySettings; readonly unknown?: undefined }
  /** With the command that can know it. */
  | { readonly unknown: string; readonly settings?: undefined }

export const NO_PROXY: ProxySettings = { proxy: undefined, exclude: [], ca: undefined }

/** A guessed password would be refused, and the wrong thing blamed. Throws `configuration`. */
export const proxyWithoutDaemon = (keys: ProxyKeys, env: NodeJS.ProcessEnv): OfflineProxy => {
  const closed = [keys.passwordFile, keys.caFile].find(isClosed)
  if (closed !== undefined) return { unknown: `${closed} is not readable by this user; run this with sudo` }
  const settings = proxySettingsFrom(keys, env)
  const { proxy } = settings
  if (!proxy?.user || proxy.hasPassword || keys.url === undefined) return { settings }
  if (!isRoot()) {
    return {
      unknown: `only root can open the password of ${proxy.toString()}, a credential of the daemon; run this with sudo`,
    }
  }
  try {
    const name = 'proxy.password'
    const sealed = openSealed({ path: join(dirname(sealedStoreKey(env).path), name), name, withKey: 'host' })
    if (sealed === undefined) return { settings }
    const password = new Secret(passwordIn(sealed))
    return { settings: { ...settings, proxy: proxy.withPassword(password) } }
  } catch (error) {
    return { unknown: `${asFailure(error).message}; \`ghconnect check\` knows it once the daemon runs` }
  }
}

const isClosed = (file: string | undefined): boolean => {
  if (file === undefined) return false
  try {
    accessSync(file, constants.R_OK)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EACCES'
  }
}
