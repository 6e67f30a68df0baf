// A planted bug: what a developer could really do, as search and replace in one file, and the test that notices.

export type Mutant = {
  /** Below src/. */
  readonly file: string
  /** What is wrong then. */
  readonly what: string
  /** Occurs once in the file. */
  readonly find: string
  readonly put: string
  /** Below test/; the file whose tests notice. Absent: all tests of the room are tried. */
  readonly test?: string
  /** The test takes a minute to notice, or waits for what never comes: `--quick` leaves it out. */
  readonly slow?: true
}
