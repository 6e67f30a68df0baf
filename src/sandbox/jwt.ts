// Checks an App's JSON web token as GitHub does, refusal by refusal.

import { createHmac, verify } from 'node:crypto'
import { Refusal } from './refusal.ts'
import type { App } from './records.ts'
import type { World } from './world.ts'

const MAX_AHEAD_S = 600
const UNDECODABLE = 'A JSON web token could not be decoded'
const BAD_EXPIRY =
  "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
const FAR_EXPIRY = "'Expiration time' claim ('exp') is too far in the future"
const BAD_ISSUED = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"

export const undecodable = (): Refusal => new Refusal(401, UNDECODABLE)

/** The App that signed `jwt`. Throws a Refusal. */
export const verifyAppJwt = (world: World, jwt: string, nowMs: number): App => {
  const { header, claims, signed, signature } = decode(jwt)
  if (header['alg'] !== 'RS256') throw undecodable()
  const issuer = claims['iss']
  const app =
    typeof issuer === 'string' || typeof issuer === 'number' ? world.findAppByIssuer(String(issuer)) : undefined
  if (!app) throw new Refusal(404, 'Integration not found')
  if (app.keys.length === 0) throw new Refusal(401, 'Integration must generate a public key')
  if (!app.keys.some(key => verify('RSA-SHA256', signed, key.publicKey, signature))) throw undecodable()
  checkTimes(claims, Math.floor(nowMs / 1000))
  return app
}

/** A compact HS512 token; GitHub's stateless tokens have one inside, which nobody but GitHub reads. */
export const signOpaqueJwt = (claims: Record<string, unknown>, secret: Buffer): string => {
  const body = [{ alg: 'HS512', typ: 'JWT' }, claims].map(part => encode(JSON.stringify(part))).join('.')
  return `${body}.${createHmac('sha512', secret).update(body).digest('base64url')}`
}

const encode = (text: string): string => Buffer.from(text).toString('base64url')

type Decoded = {
  header: Record<string, unknown>
  claims: Record<string, unknown>
  signed: Buffer
  signature: Buffer
}

const decode = (jwt: string): Decoded => {
  const parts = jwt.split('.')
  const [header, claims, signature] = parts
  if (parts.length !== 3 || !header || !claims || !signature) throw undecodable()
  return {
    header: object(header),
    claims: object(claims),
    signed: Buffer.from(`${header}.${claims}`),
    signature: Buffer.from(signature, 'base64url'),
  }
}

const object = (part: string): Record<string, unknown> => {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString())
  } catch {
    throw undecodable()
  }
  if (!isRecord(value)) throw undecodable()
  return value
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const checkTimes = (claims: Record<string, unknown>, nowS: number): void => {
  const { exp, iat } = claims
  if (typeof exp !== 'number' || exp <= nowS) throw new Refusal(401, BAD_EXPIRY)
  if (exp > nowS + MAX_AHEAD_S) throw new Refusal(401, FAR_EXPIRY)
  if (typeof iat !== 'number' || !Number.isInteger(iat) || iat > nowS) throw new Refusal(401, BAD_ISSUED)
}
