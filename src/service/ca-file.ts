// A file of CA certificates, in whichever form it arrives: PEM or DER is read, other forms are refused by name.

import { X509Certificate } from 'node:crypto'
import { Failure } from '../protocol/errors.ts'
import { readNamedFile } from './named-file.ts'

export type Certificates = {
  /** All certificates of the file, each a PEM block. */
  readonly pem: string
  /** Names blocks that were left aside since they are no certificates. */
  readonly warning?: string
}

/**
 * Throws `configuration` where the file cannot be read, holds no certificate, or holds one in a form that would lose some of its
 * meaning; the message names the form, and the command that converts it.
 */
export const readCertificates = (file: string): Certificates => {
  const bytes = readNamedFile(file)
  if (bytes[0] === DER_SEQUENCE) return { pem: readDer(bytes, file) }
  const kinds = new Set<string>()
  const found: string[] = []
  const text = decodeText(bytes)
  for (const [block, kind = ''] of text.matchAll(BLOCK)) {
    kinds.add(kind)
    if (kind === 'CERTIFICATE' || kind === 'X509 CERTIFICATE') found.push(block.replaceAll('X509 CERT', 'CERT'))
  }
  for (const [kind, command] of CONVERTED) {
    if (kinds.has(kind)) throw wrong(`${file} holds a ${kind}; convert it: ${command(file)}`)
  }
  const torn = text.replaceAll(BLOCK, '').match(/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/)
  if (torn) throw wrong(`${file} is damaged: a certificate in it has no end`)
  const others = [...kinds].filter(kind => kind !== 'CERTIFICATE' && kind !== 'X509 CERTIFICATE')
  if (found.length === 0) {
    throw wrong(
      `${file} holds no certificate${others.length > 0 ? `, but a ${others.join(', a ')}` : ' in PEM or DER'}`,
    )
  }
  const pem = found
    .map((block, at) => normalize(block, () => `the certificate ${at + 1} of ${file} is damaged`))
    .join('')
  return others.length === 0 ? { pem } : { pem, warning: `${file}: not used: ${others.join(', ')}` }
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^]*?-----END \1-----/g

/** The first byte of each form of DER that a certificate may arrive in. */
const DER_SEQUENCE = 0x30

const CONVERTED: ReadonlyMap<string, (file: string) => string> = new Map([
  // Its trust settings may say that it is not to be trusted; a plain certificate cannot.
  ['TRUSTED CERTIFICATE', file => `openssl x509 -in ${file} -out ${pemFileOf(file)}`],
  ['PKCS7', file => `openssl pkcs7 -print_certs -in ${file} -out ${pemFileOf(file)}`],
  ['CMS', file => `openssl pkcs7 -print_certs -in ${file} -out ${pemFileOf(file)}`],
])

const readDer = (bytes: Buffer, file: string): string => {
  if (bytes.includes(OID_SIGNED_DATA) && bytes.indexOf(OID_SIGNED_DATA) < 16) {
    throw wrong(
      `${file} is PKCS#7 in DER; convert it: openssl pkcs7 -inform der -print_certs -in ${file} -out ${pemFileOf(file)}`,
    )
  }
  // PFX: a version of 3, then the authenticated safe.
  if (bytes.subarray(0, 8).includes(Buffer.of(0x02, 0x01, 0x03))) {
    throw wrong(`${file} is PKCS#12; convert it: openssl pkcs12 -cacerts -nokeys -in ${file} -out ${pemFileOf(file)}`)
  }
  return normalize(bytes, () => `${file} is DER, and no certificate in it can be read`)
}

/** 1.2.840.113549.1.7.2 */
const OID_SIGNED_DATA = Buffer.from('06092a864886f70d010702', 'hex')

const normalize = (certificate: Buffer | string, explain: () => string): string => {
  try {
    return new X509Certificate(certificate).toString()
  } catch (cause) {
    throw new Failure('configuration', explain(), { cause })
  }
}

/** Windows saves text in UTF-16. */
const decodeText = (bytes: Buffer): string => {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return bytes.toString('utf16le')
  return bytes.toString('utf8')
}

const pemFileOf = (file: string): string =>
  `${file.replace(/\.(?:cer|crt|der|p7b|p7c|pfx|p12)$/i, '').replace(/\.pem$/, '-converted')}.pem`

const wrong = (message: string): Failure => new Failure('configuration', message)
