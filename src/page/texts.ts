// The page's words by language. English sets the type, so that a sentence that another language lacks does not compile.

import type { FailureFacts, FeatureFacts, Language, WarningFacts } from './model.ts'
import { EN, type GeneralTexts } from './texts-en.ts'
import { type FormTexts, FORMS_EN } from './texts-en-forms.ts'
import { ADVICE_EN } from './texts-en-problems.ts'
import { STATES_EN, type StateTexts } from './texts-en-states.ts'
import { JA } from './texts-ja.ts'
import { FORMS_JA } from './texts-ja-forms.ts'
import { PROBLEMS_JA } from './texts-ja-problems.ts'
import { STATES_JA } from './texts-ja-states.ts'
import { FEATURES_JA, WARNINGS_JA } from './texts-ja-warnings.ts'

export type Texts = GeneralTexts & FormTexts & { readonly states: StateTexts }

const TEXTS: Readonly<Record<Language, Texts>> = {
  en: { ...EN, ...FORMS_EN, states: STATES_EN },
  ja: { ...JA, ...FORMS_JA, states: STATES_JA },
}

export const textsOf = (language: Language): Texts => TEXTS[language]

/** Title and advice of a problem; in English they come with it, from the catalogue, unless it advises a command where the page has a form. */
export const problemText = (failure: FailureFacts, language: Language): { title: string; next: string } => {
  if (language === 'ja') return PROBLEMS_JA[failure.code] ?? failure
  return { title: failure.title, next: ADVICE_EN[failure.code] ?? failure.next }
}

export const featureTitle = ({ name, title }: FeatureFacts, language: Language): string =>
  (language === 'ja' ? new Map(Object.entries(FEATURES_JA)).get(name) : undefined) ?? title

/** `title` is absent where the English detail is all there is to say. */
export const warningText = (warning: WarningFacts, language: Language): { title?: string; next: string } => {
  if (language === 'en') return { next: warning.next }
  return WARNINGS_JA[warning.code] ?? PROBLEMS_JA[warning.code] ?? { next: warning.next }
}
