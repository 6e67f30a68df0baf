// The public half of a recovery key, as it is spelled: an X25519 recipient of age. Its checksum finds each slip of a pen.

/** `age1` and 58 more characters, in the Bech32 of BIP 173, lower case. */
export const isRecipientSpelling = (text: string): boolean => {
  const [, data] = /^age1([023456789acdefghjklmnpqrstuvwxyz]{58})$/.exec(text) ?? []
  if (data === undefined) return false
  return polymod([...PREFIX, ...data.split('').map(character => ALPHABET.indexOf(character))]) === 1
}

const ALPHABET = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
/** `age`, expanded as BIP 173 has it: the high bits of each character, a zero, the low bits. */
const PREFIX = [3, 3, 3, 0, 1, 7, 5]
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

const polymod = (values: readonly number[]): number => {
  let sum = 1
  for (const value of values) {
    const top = sum >>> 25
    sum = ((sum & 0x1ffffff) << 5) ^ value
    for (const [bit, factor] of GENERATOR.entries()) if ((top >> bit) & 1) sum ^= factor
  }
  return sum
}
