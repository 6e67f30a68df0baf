// The completion of bash, zsh and fish: their scripts, from the commands' own definitions, and the values that these ask for.

import type { SeenOf } from '../protocol/endpoints.ts'
import { describePermissions } from '../protocol/scope.ts'
import {
  type CommandSpec,
  COMPLETIONS,
  type Completion,
  type Context,
  GLOBAL_OPTIONS,
  type OptionTable,
  readFlags,
} from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

export const completionScript = (shell: Shell, commands: readonly CommandSpec[]): string => SCRIPTS[shell](commands)

const HELP = { '--help': 'show help' }
const VERSION = { '--version': 'show the version' }

type Item = { readonly long: string; readonly value: string | undefined; readonly description: string }

const itemsOf = (options: OptionTable = {}): Item[] =>
  Object.entries(options).map(([flags, description]) => ({ ...readFlags(flags), description }))
const optionsOf = (command: CommandSpec): Item[] => itemsOf({ ...command.options, ...GLOBAL_OPTIONS, ...HELP })
const OF_PROGRAM = itemsOf({ ...GLOBAL_OPTIONS, ...HELP, ...VERSION })
const isPath = ({ value }: Item): boolean => value === 'FILE' || value === 'PATH'
const choicesOf = (command: CommandSpec): readonly string[] => command.arguments?.[0]?.choices ?? []

type Word = { readonly word: string; readonly description: string }

/** What may follow each path of words: '' is the program, `config` a group, `config check` a command. */
const continuations = (commands: readonly CommandSpec[]): Map<string, Word[]> => {
  const next = new Map<string, Word[]>([['', []]])
  for (const command of commands) {
    const words = command.name.split(' ')
    for (const [at, word] of words.entries()) {
      const path = words.slice(0, at).join(' ')
      const known = next.get(path) ?? []
      const description = at === words.length - 1 ? command.summary : `${word} ...`
      if (!known.some(other => other.word === word)) next.set(path, [...known, { word, description }])
    }
    // A command may be a group as well: `features`, `features enable`.
    const below = (next.get(command.name) ?? []).filter(({ word }) => !word.startsWith('-'))
    next.set(command.name, [
      ...below,
      ...choicesOf(command).map(word => ({ word, description: command.arguments?.[0]?.description ?? '' })),
      ...optionsOf(command).map(wordOf),
    ])
  }
  next.set('', [...(next.get('') ?? []), ...OF_PROGRAM.map(wordOf)])
  return next
}

const wordOf = ({ long, description }: Item): Word => ({ word: long, description })

type Value = { readonly place: string; readonly kind: Completion }

/** Where the daemon knows the values: `token --profile`, as an option's; `sink`, as a command's argument. */
const valuesOf = (commands: readonly CommandSpec[]): { options: Value[]; arguments: Value[] } => {
  const all = commands.flatMap(({ name, complete: kinds = {} }) =>
    Object.entries(kinds).map(([of, kind]) => ({ name, of, kind })),
  )
  const isOption = ({ of }: { of: string }): boolean => of.startsWith('--')
  return {
    options: all.filter(isOption).map(({ name, of, kind }) => ({ place: `${name} ${of}`, kind })),
    arguments: all.filter(each => !isOption(each)).map(({ name, kind }) => ({ place: name, kind })),
  }
}

/** What the scripts of bash and zsh say, each in its own words for a case. */
const partsOf = (commands: readonly CommandSpec[], caseOf: (path: string, then: string) => string) => {
  const all = commands.flatMap(optionsOf)
  const known = valuesOf(commands)
  const next = continuations(commands)
  const namesOf = (options: readonly Item[]): string => [...new Set(options.map(({ long }) => long))].join('|')
  const kinds = (values: readonly Value[]): string =>
    values.map(({ place, kind }) => caseOf(place, `kind=${kind}`)).join('\n')
  return {
    paths: [...next.keys()].filter(path => path !== '').map(path => `"${path}"`),
    cases: (wordsOf: (words: readonly Word[]) => string): string =>
      [...next].map(([path, words]) => caseOf(path, wordsOf(words))).join('\n'),
    optionKinds: kinds(known.options),
    argumentKinds: kinds(known.arguments),
    withPath: namesOf(all.filter(isPath)),
    withValue: namesOf(all.filter(({ value }) => value !== undefined)),
  }
}

const bash = (commands: readonly CommandSpec[]): string => {
  const { paths, cases, optionKinds, argumentKinds, withPath, withValue } = partsOf(
    commands,
    (path, then) => `    "${path}") ${then} ;;`,
  )
  return `# Completion of ghconnect for bash; made by: ghconnect completion
_ghconnect() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" at=$COMP_CWORD place="" kind="" word words="" prev i
  COMPREPLY=()
  # Bash takes "=" and ":" for words of their own.
  while ((at > 1)) && [[ "\${COMP_WORDS[at]}" == [=:] || "\${COMP_WORDS[at - 1]}" == [=:] ]]; do
    at=$((at - 1))
    cur="\${COMP_WORDS[at]}$cur"
  done
  prev="\${COMP_WORDS[at - 1]}"
  for ((i = 1; i < at; i++)); do
    word="\${COMP_WORDS[i]}"
    [ "$word" = -- ] && { COMPREPLY=($(compgen -c -f -- "$cur")); return; }
    case "\${place:+$place }$word" in
    ${paths.join(' | ')}) place="\${place:+$place }$word" ;;
    esac
  done
  local start="\${cur%"\${cur##*[=:]}"}"
  [[ "$cur" == --*=* ]] && { prev="\${cur%%=*}"; cur="\${cur#*=}"; }
  case "$place $prev" in
${optionKinds}
  esac
  if [ -z "$kind" ]; then
    case "$prev" in
      ${withPath}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      ${withValue}) return ;;
    esac
    [[ "$cur" == -* ]] || case "$place" in
${argumentKinds}
    esac
  fi
  if [ -n "$kind" ]; then
    while IFS=$'\\t' read -r word _; do
      [[ "$word" == "$cur"* ]] && { [[ "$start" == --* ]] || word="\${word#"$start"}"; COMPREPLY+=("$word"); }
    done < <("\${COMP_WORDS[0]}" __complete "$kind" 2>/dev/null)
    return
  fi
  case "$place" in
${cases(words => `words="${words.map(({ word }) => word).join(' ')}"`)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o filenames -F _ghconnect ghconnect
`
}

/** As `_describe` reads it: a colon ends the word. */
const described = ({ word, description }: Word): string =>
  `'${`${word.replaceAll(':', '\\:')}:${description}`.replaceAll("'", `'\\''`)}'`

const zsh = (commands: readonly CommandSpec[]): string => {
  const { paths, cases, optionKinds, argumentKinds, withPath, withValue } = partsOf(
    commands,
    (path, then) => `    ("${path}") ${then} ;;`,
  )
  return `#compdef ghconnect
# Completion of ghconnect for zsh; made by: ghconnect completion zsh
_ghconnect() {
  local place="" word="" kind="" line="" prev="\${words[CURRENT-1]}"
  local -a items
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if [[ "$word" == -- ]]; then
      shift $i words
      ((CURRENT -= i))
      _normal
      return
    fi
    case "\${place:+$place }$word" in
    (${paths.join('|')}) place="\${place:+$place }$word" ;;
    esac
  done
  if [[ "$PREFIX" == --*=* ]]; then
    prev="\${PREFIX%%=*}"
    compset -P '--*='
  fi
  case "$place $prev" in
${optionKinds}
  esac
  if [[ -z "$kind" ]]; then
    case "$prev" in
    (${withPath}) _files; return ;;
    (${withValue}) return ;;
    esac
    [[ "$PREFIX" == -* ]] || case "$place" in
${argumentKinds}
    esac
  fi
  if [[ -n "$kind" ]]; then
    while IFS= read -r line; do
      items+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    done < <("\${words[1]}" __complete "$kind" 2>/dev/null)
    ((\${#items})) && _describe -t values value items
    return
  fi
  case "$place" in
${cases(words => `items=(${words.map(described).join(' ')})`)}
  esac
  _describe -t words word items
}
if [[ "\${funcstack[1]}" == _ghconnect ]]; then _ghconnect "$@"; else compdef _ghconnect ghconnect; fi
`
}

const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`

/** Fish shows what stands behind a tab beside the value. */
const asked = (kind: Completion): string => ` -a '(ghconnect __complete ${kind} 2>/dev/null)'`

const fishOption = (condition: string, item: Item, kind?: Completion): string => {
  const value = item.value === undefined ? '' : isPath(item) ? ' -r -F' : ' -x'
  const values = kind ? asked(kind) : ''
  return `complete -c ghconnect${condition} -l ${item.long.slice(2)}${value}${values} -d ${quote(item.description)}`
}

const fish = (commands: readonly CommandSpec[]): string => {
  const heads = [...new Set(commands.map(command => command.name.split(' ')[0] ?? ''))].join(' ')
  const lines = ['complete -c ghconnect -f', ...OF_PROGRAM.map(item => fishOption('', item))]
  for (const command of commands) {
    const [head = '', second] = command.name.split(' ')
    const first = ` -n ${quote(`not __fish_seen_subcommand_from ${heads}`)}`
    const within = ` -n ${quote(`__fish_seen_subcommand_from ${head}`)}`
    const summary = `-d ${quote(command.summary)}`
    lines.push(`complete -c ghconnect${first} -a ${head} ${second === undefined ? summary : ''}`.trimEnd())
    if (second !== undefined) lines.push(`complete -c ghconnect${within} -a ${second} ${summary}`)
    for (const choice of choicesOf(command)) lines.push(`complete -c ghconnect${within} -a ${choice}`)
    for (const { kind } of valuesOf([command]).arguments) lines.push(`complete -c ghconnect${within}${asked(kind)}`)
    for (const item of itemsOf(command.options)) lines.push(fishOption(within, item, command.complete?.[item.long]))
    if (command.passThrough) lines.push(`complete -c ghconnect${within} -a '(__fish_complete_command)'`)
  }
  return `# Completion of ghconnect for fish; made by: ghconnect completion fish\n${lines.join('\n')}\n`
}

const SCRIPTS = { bash, zsh, fish }

/** Whoever pressed TAB waits. */
const BRIEFLY = { silenceMs: 3_000 }

type Choice = readonly [value: string, description: string]

/** What the scripts ask. It asks the daemon briefly, and says nothing where it cannot. */
export const complete: CommandSpec = {
  name: '__complete',
  summary: 'print the values of a kind, each with a description, for the completion of a shell',
  arguments: [{ name: 'kind', description: 'the kind of value', choices: COMPLETIONS }],
  examples: ['ghconnect __complete profiles'],
  async run(context) {
    const kind = COMPLETIONS.find(known => known === context.args[0])
    const values = kind === undefined ? [] : await FIND[kind](context).catch(() => [])
    for (const [value, description] of values) {
      // A shell reads it: nothing in it may be more than a word.
      if (/^[\w@.:=+/-]+$/.test(value)) context.deps.stdout.write(`${value}\t${description.replaceAll(/\s+/g, ' ')}\n`)
    }
  },
}

type Profiles = SeenOf<'GET /v1/profiles'>['profiles']

const profilesOn = async (context: Context, socket: 'admin' | 'token'): Promise<Profiles> =>
  (await (await context.client(socket)).ask('GET /v1/profiles', BRIEFLY)).profiles

const describeProfiles = (profiles: Profiles): Choice[] =>
  profiles.map(({ name, permissions, repositories }) => [
    name,
    `${describePermissions(permissions)} on ${repositories?.join(', ') ?? 'all repositories'}`,
  ])

const FIND: Readonly<Record<Completion, (context: Context) => Promise<readonly Choice[]>>> = {
  profiles: async context =>
    describeProfiles(await profilesOn(context, 'admin').catch(() => profilesOn(context, 'token'))),
  'own-profiles': async context => describeProfiles(await profilesOn(context, 'token')),
  async permissions(context) {
    // What the caller's profiles hold; for an administrator what the App was granted. `write` includes `read`.
    const { installations } = await context
      .ask('GET /v1/installations', BRIEFLY)
      .catch(() => ({ installations: [] as SeenOf<'GET /v1/installations'>['installations'] }))
    const granted = installations.map(i => [i.permissions, `granted by ${i.account.login}`] as const)
    const profiles = granted.length > 0 ? [] : await profilesOn(context, 'token')
    const held = profiles.map(({ name, permissions = {} }) => [permissions, `profile ${name}`] as const)
    const values = new Map<string, string>()
    for (const [permissions, description] of [...granted, ...held]) {
      for (const [name, level] of Object.entries(permissions)) {
        const levels = ['read', 'write', 'admin']
        for (const one of levels.slice(0, levels.indexOf(level) + 1)) values.set(`${name}=${one}`, description)
      }
    }
    return [...values]
  },
  async installations(context) {
    const { installations } = await context.ask('GET /v1/installations', BRIEFLY)
    return installations.map(({ account, id }) => [account.login, `installation ${id}`])
  },
  async sinks(context) {
    const { sinks } = await context.config()
    return sinks.map(({ name, path, profile }) => [name, `${path}, profile ${profile}`])
  },
  async keys(context) {
    const { keys } = await context.ask('GET /v1/keys', BRIEFLY)
    return keys.map(({ fingerprint, added_at: at, signs }) => [
      fingerprint,
      `${signs ? 'signs' : 'the fallback'}, added ${at.slice(0, 10)}`,
    ])
  },
}
