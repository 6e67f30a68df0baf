/** Whether scripts/night runs: more rounds, both languages, and pictures. */
export const isNight = process.env['NIGHT'] === 'true'
