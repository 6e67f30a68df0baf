// The API's shapes for the features of GitHub Connect, beside those of wire.ts.

import { z } from 'zod'
import { FEATURE_NAMES } from './features.ts'
import { ProfileBody } from './wire.ts'

const permissions = z.record(z.string(), z.string())

export const FeaturesAnswer = z.lazy(() =>
  z.strictObject({
    features: z.array(
      z.strictObject({
        name: z.enum(FEATURE_NAMES).describe('Also the name of the profile, where it is switched on'),
        title: z.string(),
        purpose: z.string(),
        reads: z.string(),
        sends: z.string(),
        remark: z.string().optional().describe("What GitHub's App permissions do not cover"),
        consumer: z.string(),
        permissions,
        state: z.enum(['off', 'on', 'awaiting-connection', 'no-installation', 'app-lacks', 'awaiting-approval']),
        detail: z.string(),
        next: z.string(),
        missing: permissions.optional().describe('What the App does not ask for, or the owner has not approved'),
        link: z.string().optional().describe("The page of GitHub's where the owner gives what is missing"),
        file: z.string().optional().describe('The file that switches it on'),
        installation: ProfileBody.unwrap().shape.installation,
        repositories: ProfileBody.unwrap().shape.repositories,
        allow: ProfileBody.unwrap().shape.allow,
      }),
    ),
  }),
)
export type FeaturesAnswer = z.infer<typeof FeaturesAnswer>
export type FeatureBody = FeaturesAnswer['features'][number]

export const ReloadAnswer = z.lazy(() =>
  z.strictObject({ file: z.string().describe('The configuration that holds from now on') }),
)
