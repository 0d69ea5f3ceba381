export default {
  input: '../../api/openapi.yaml',
  output: { path: 'src/generated', module: { extension: '.js' } },
  // Stripe alone calls its webhook.
  parser: { filters: { orphans: true, tags: { exclude: ['webhooks'] } } },
  plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
};
