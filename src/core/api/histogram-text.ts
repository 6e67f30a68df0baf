// Histograms in Prometheus' text format: prom-client takes single observations only, and these are counted already.

import type { TallyReading } from './readings.ts'

/** One metric with all of its series; empty where there is none. */
export const histogramText = (name: string, help: string, readings: readonly TallyReading[]): string =>
  readings.length === 0
    ? ''
    : [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...readings.flatMap(seriesOf), ''].join('\n')

const seriesOf = ({ name, labels, tally }: TallyReading): string[] => {
  const own = Object.entries(labels).map(([label, value]) => `${label}="${escape(value)}"`)
  let sum = 0
  const buckets = tally.counts.map((count, at) => {
    sum += count
    return `${name}_bucket{${[...own, `le="${tally.bounds[at] ?? '+Inf'}"`].join(',')}} ${sum}`
  })
  return [...buckets, `${name}_sum{${own.join(',')}} ${tally.sum}`, `${name}_count{${own.join(',')}} ${sum}`]
}

const escape = (value: string): string =>
  value.replaceAll('\\', String.raw`\\`).replaceAll('"', String.raw`\"`).replaceAll('\n', String.raw`\n`)
