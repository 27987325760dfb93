"""All migrations of 0.1 as one: the same schema in a fraction of the time.

Data migrations are left out: they change nothing in an empty database.
"""

import django.db.models.deletion
import django.utils.timezone
import jobs.models.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('webhooks', '0001_initial'), ('webhooks', '0002_endpoint_settings'), ('webhooks', '0003_circuits_and_replays'), ('webhooks', '0004_schedules_go_on'), ('webhooks', '0005_operators_indexes'), ('webhooks', '0006_defaults_for_older_code')]

    initial = True

    dependencies = [
        ('jobs', '0001_squashed_0026_api_key_name'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('url', models.TextField()),
                ('description', models.CharField(blank=True, max_length=200)),
                ('event_types', models.JSONField(blank=True, default=list)),
                ('is_enabled', models.BooleanField(default=True)),
                ('disabled_reason', models.CharField(blank=True, max_length=40)),
                ('disabled_at', models.DateTimeField(blank=True, null=True)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('headers', models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict)),
                ('max_concurrent', models.PositiveSmallIntegerField(db_default=10, default=10)),
                ('payload', models.CharField(choices=[('full', 'Full'), ('thin', 'Thin')], db_default='full', default='full', max_length=4)),
                ('trial_at', models.DateTimeField(blank=True, null=True)),
                ('trial_wait_seconds', models.PositiveIntegerField(db_default=0, default=0)),
            ],
        ),
        migrations.CreateModel(
            name='WebhookSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('ciphertext', models.BinaryField()),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('endpoint', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='secrets', to='webhooks.webhookendpoint')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookRecovery',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField()),
                ('number', models.PositiveIntegerField(default=0)),
                ('has_more', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='webhooks.webhookendpoint')),
            ],
            options={
                'verbose_name_plural': 'webhook recoveries',
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('url', models.TextField(blank=True)),
                ('target', models.CharField(max_length=300)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('discarded', 'Discarded')], default='pending', max_length=10)),
                ('body', models.BinaryField(blank=True, null=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('next_attempt_at', models.DateTimeField(blank=True, null=True)),
                ('is_claimed', models.BooleanField(default=False)),
                ('claim_token', models.PositiveIntegerField(default=0)),
                ('created_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='jobs.event')),
                ('job', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='jobs.job')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
                ('endpoint', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='webhooks.webhookendpoint')),
                ('is_held', models.BooleanField(db_default=False, default=False)),
                ('scheduled_at', models.DateTimeField(blank=True, null=True)),
                ('step', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('trigger', models.CharField(choices=[('scheduled', 'Scheduled'), ('manual', 'Manual'), ('trial', 'Trial')], db_default='scheduled', default='scheduled', max_length=10)),
                ('recovery', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='webhooks.webhookrecovery')),
            ],
            options={
                'verbose_name_plural': 'webhook deliveries',
            },
        ),
        migrations.CreateModel(
            name='DeliveryAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('claim_token', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('duration_ms', models.PositiveIntegerField()),
                ('status_code', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('error', models.CharField(blank=True, max_length=60)),
                ('response_excerpt', models.TextField(blank=True)),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='log', to='webhooks.webhookdelivery')),
                ('trigger', models.CharField(choices=[('scheduled', 'Scheduled'), ('manual', 'Manual'), ('trial', 'Trial')], db_default='scheduled', default='scheduled', max_length=10)),
            ],
            options={
                'constraints': [models.UniqueConstraint(models.F('delivery'), models.F('claim_token'), name='delivery_attempt_of_claim')],
            },
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('is_enabled', False), models.Q(('disabled_at__isnull', True), ('disabled_reason', '')), _connector='OR'), name='endpoint_enabled_has_no_reason'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('failures', 0), ('failing_since__isnull', False), _connector='XOR'), name='endpoint_failing_iff_failures'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('target'), condition=models.Q(('is_claimed', True)), name='delivery_in_hand'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('id'), descending=True), name='delivery_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(models.F('event'), models.F('endpoint'), condition=models.Q(('endpoint__isnull', False)), name='delivery_per_endpoint'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(models.F('event'), condition=models.Q(('endpoint__isnull', True)), name='delivery_per_callback'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('url', ''), ('endpoint__isnull', True), _connector='XOR'), name='delivery_one_target'),
        ),
        migrations.AddConstraint(
            model_name='webhooksecret',
            constraint=models.UniqueConstraint(models.F('tenant'), condition=models.Q(('endpoint__isnull', True), ('expires_at__isnull', True)), name='current_secret_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='webhooksecret',
            constraint=models.UniqueConstraint(models.F('endpoint'), condition=models.Q(('endpoint__isnull', False), ('expires_at__isnull', True)), name='current_secret_of_endpoint'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('max_concurrent__gte', 1), ('max_concurrent__lte', 50)), name='endpoint_max_concurrent'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('deleted_at__isnull', True), models.Q(('headers', {}), ('is_enabled', False), ('url', '')), _connector='OR'), name='endpoint_deleted_keeps_nothing'),
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(models.F('trial_at'), condition=models.Q(('trial_at__isnull', False)), name='endpoint_trial_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('next_attempt_at'), condition=models.Q(('is_held', False), ('next_attempt_at__isnull', False)), name='delivery_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('target'), models.F('next_attempt_at'), condition=models.Q(('is_held', False), ('next_attempt_at__isnull', False)), name='delivery_due_of_target'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('endpoint'), models.F('next_attempt_at'), condition=models.Q(('is_held', True)), name='delivery_held'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.F('recovery'), condition=models.Q(('recovery__isnull', False)), name='delivery_recovered'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('next_attempt_at__isnull', False), ('status', 'pending')), models.Q(models.Q(('status', 'pending'), _negated=True), ('finished_at__isnull', False), models.Q(('next_attempt_at__isnull', True), ('trigger', 'manual'), _connector='OR')), _connector='OR'), name='delivery_pending_iff_scheduled'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('is_claimed', False), ('is_held', False)), models.Q(('next_attempt_at__isnull', False), models.Q(('is_claimed', False), ('is_held', False), _connector='OR')), _connector='OR'), name='delivery_claimed_or_held_only_if_scheduled'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status__in', ['failed', 'discarded'])), name='delivery_not_taken'),
        ),
    ]
