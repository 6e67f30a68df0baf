// Why the daemon's last start failed, for commands that find no daemon.

import { Failure } from '../protocol/errors.ts'

/** The same problem with the reason of the last start, where it failed: to start it again as it is would fail as well. */
export const withStartError = async (absent: Failure, configFile: string): Promise<Failure> => {
  const { DEFAULT_CONFIG_FILE, examineTexts } = await import('../service/config.ts')
  const { findStartError } = await import('../service/start-error.ts')
  const surroundings = { hostname: 'localhost', findUser: () => 0, findGroup: () => 0 }
  const { config } = examineTexts(configFile, surroundings)
  const runtime = config?.paths.runtime ?? '/run/ghconnectd'
  const found = findStartError(runtime, { isService: configFile === DEFAULT_CONFIG_FILE })
  if (!found) return absent
  const detail = `${absent.message}; its last start failed with exit code ${found.exit}: ${found.detail}`
  const next =
    found.exit === 78
      ? 'Correct the configuration (`ghconnect config check` shows all that is wrong), then start it: `systemctl start ghconnectd`.'
      : 'See why the last start failed, then start it: `systemctl start ghconnectd`.'
  return new Failure('daemon-absent', detail, { cause: absent.cause, next })
}
