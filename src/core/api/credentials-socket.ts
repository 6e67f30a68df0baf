// credentials.sock: systemd's LoadCredential= protocol (systemd.exec(5)). A client gets one credential, which the name of its own socket says.

import { createServer, type Server, type Socket } from 'node:net'
import { asFailure } from '../../protocol/errors.ts'
import { type Policy, PROFILE_NAME, UNIT_NAME } from '../../protocol/profile.ts'
import { writeToken } from '../../protocol/token-texts.ts'
import type { Caller, TokenIssuer } from '../tokens/token-issuer.ts'
import type { Clock } from '../../service/clock.ts'
import type { Config, Sink } from '../../service/config.ts'
import type { Log } from '../../service/log.ts'
import { holderOf } from '../peers/holder.ts'
import type { Attest, Attested } from '../peers/peer.ts'
import { createConnections, type Limits, NOBODY } from './sockets.ts'

export type CredentialsDeps = {
  readonly attest: Attest
  /** The address that the peer bound. */
  readonly peerName: (socket: Socket) => string
  /** Throws while the store is closed. */
  readonly operations: () => { readonly issuer: Pick<TokenIssuer, 'answer' | 'deny'> }
  readonly config: () => Pick<Config, 'github' | 'sinks'> & { readonly policy: Policy }
  readonly clock: Pick<Clock, 'after'>
  readonly log: Log
}

/** systemd takes no credential of more than 1 MiB: such a one fails the unit, where an empty one would start it. */
const REFUSAL = Buffer.alloc(2 ** 20 + 4096, 'ghconnectd refuses this credential, and says why in its journal\n')
/** A peer that does not read. A token that has to be minted comes within the way out's own time. */
const PATIENCE_MS = 120_000
/** Units start by the dozen at boot, and each opens one connection for each credential. */
const LIMITS: Limits = { all: 512, ofHolder: 256, ofUid: 256 }
/** A credential is read once, at the start of the unit. */
const MIN_TTL_SECONDS = 1_800

export const createCredentialsServer = (deps: CredentialsDeps): Server => {
  const connections = createConnections(LIMITS)
  // systemd has nothing to say, and ends its half at once: ours stays open until the answer is there.
  return createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => socket.destroy())
    const deadline = deps.clock.after(PATIENCE_MS, () => socket.destroy())
    socket.once('close', () => deadline.cancel())
    socket.resume()
    let attested: Attested | undefined
    try {
      attested = deps.attest(socket)
      socket.once('close', attested.release)
    } catch (error) {
      refuse(socket, error, deps)
    }
    socket.once('close', connections.enter(socket, attested ? holderOf(attested.peer) : NOBODY).leave)
    if (attested)
      answer(socket, attested, deps)
        .then(text => socket.end(text))
        .catch((error: unknown) => refuse(socket, error, deps))
  })
}

const refuse = (socket: Socket, error: unknown, { log }: CredentialsDeps): void => {
  log.warn('a credential was refused', { error: asFailure(error) })
  socket.end(REFUSAL)
}

/** Throws what a token request throws. Each denial is in the audit log before it is told. */
const answer = async (socket: Socket, attested: Attested, deps: CredentialsDeps): Promise<string> => {
  const caller: Caller = { socket: 'token', attested }
  const { issuer } = deps.operations()
  const { peer } = attested
  const wanted = readName(deps.peerName(socket))
  const request = wanted ? { profile: wanted.credential } : {}
  const deny = (detail: string): Promise<never> => issuer.deny(`LoadCredential=: ${detail}`, { request, caller })
  if (!wanted) return deny('the socket bears no name of systemd')
  // Any process may bind any name: it is systemd where it is root, and in the very unit that it names.
  if (peer.uid !== 0) return deny(`user ${peer.uid} is not the service manager`)
  if (peer.unit !== wanted.unit) return deny(`a process in ${peer.unit ?? 'no unit'} called itself ${wanted.unit}`)
  const { policy, sinks, github } = deps.config()
  const source = findSource(wanted.credential, { policy, sinks })
  const profile = policy.profiles.find(({ name }) => name === source?.profile)
  // The user that the unit will run as is not told: only a profile that goes by units can mean it.
  if (!source || !profile || profile.allow.units.length === 0)
    return deny(`no profile that names units admits ${wanted.unit} to ${wanted.credential}`)
  return writeToken(
    source.format,
    await issuer.answer({ profile: profile.name, min_ttl_seconds: MIN_TTL_SECONDS }, caller),
    github,
  )
}

/** `\0RANDOM/unit/UNIT/CREDENTIAL`, as systemd binds it; a profile or sink can have no other name. */
export const readName = (name: string): { unit: string; credential: string } | undefined => {
  const [, unit = '', credential = ''] = /^\0[0-9a-f]+\/unit\/([^/\0]+)\/([^/\0]+)$/.exec(name) ?? []
  return UNIT_NAME.test(unit) && PROFILE_NAME.test(credential) ? { unit, credential } : undefined
}

/** A profile gives the bare token, a sink its format. */
const findSource = (
  credential: string,
  { policy, sinks }: { policy: Policy; sinks: readonly Sink[] },
): Pick<Sink, 'profile' | 'format'> | undefined =>
  policy.profiles.some(({ name }) => name === credential)
    ? { profile: credential, format: 'token' }
    : sinks.find(({ name }) => name === credential)
