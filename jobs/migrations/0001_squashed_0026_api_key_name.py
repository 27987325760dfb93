"""All migrations of 0.1 as one: the same schema in a fraction of the time.

Data migrations are left out: they change nothing in an empty database.
"""

import django.core.serializers.json
import django.db.models.deletion
import django.db.models.expressions
import django.utils.timezone
import jobs.models.ids
import jobs.models.transaction_ids
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('jobs', '0001_initial'), ('jobs', '0002_event_tenant_optional'), ('jobs', '0003_api_key_addresses_and_rotation'), ('jobs', '0004_batch'), ('jobs', '0005_erasure'), ('jobs', '0006_requests_per_minute'), ('jobs', '0007_event_audit'), ('jobs', '0008_quotas'), ('jobs', '0009_attempt_tenant_backfill'), ('jobs', '0010_attempt_tenant_required'), ('jobs', '0011_route_and_ticket'), ('jobs', '0012_batch_erasure'), ('jobs', '0013_callback_style'), ('jobs', '0014_defaults_for_older_code'), ('jobs', '0015_event_xid'), ('jobs', '0016_event_of_tenant'), ('jobs', '0017_batch_life'), ('jobs', '0018_region_max_streams'), ('jobs', '0019_job_line'), ('jobs', '0020_content_retention'), ('jobs', '0021_trace_context'), ('jobs', '0022_operators_indexes'), ('jobs', '0023_audit_log'), ('jobs', '0024_more_defaults_for_older_code'), ('jobs', '0025_beacon'), ('jobs', '0026_api_key_name')]

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('public_id', models.CharField(max_length=16, unique=True)),
                ('digest', models.BinaryField(max_length=32)),
                ('scopes', models.JSONField(default=list)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('name', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('queues', models.JSONField(default=list)),
                ('slots', models.PositiveIntegerField()),
                ('busy', models.PositiveIntegerField(default=0)),
                ('seen_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='Region',
            fields=[
                ('name', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('base_url', models.URLField(max_length=500)),
                ('key_setting', models.CharField(default='DEEPGRAM_API_KEY', max_length=100)),
                ('max_concurrent', models.PositiveIntegerField(default=100)),
                ('max_per_minute', models.PositiveIntegerField(default=980)),
                ('pools', models.JSONField(blank=True, default=dict)),
                ('weight', models.PositiveIntegerField(default=1)),
                ('is_enabled', models.BooleanField(default=True)),
                ('is_drained', models.BooleanField(default=False)),
                ('is_pinned', models.BooleanField(default=False)),
                ('paused_until', models.DateTimeField(blank=True, null=True)),
                ('paused_reason', models.CharField(blank=True, max_length=60)),
                ('max_streams', models.PositiveIntegerField(db_default=50, default=50)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('weight__gte', 1)), name='region_weight')],
            },
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200, unique=True)),
                ('default_options', models.JSONField(blank=True, default=dict)),
                ('is_active', models.BooleanField(default=True)),
                ('weight', models.PositiveIntegerField(default=1)),
                ('max_in_flight', models.PositiveIntegerField(blank=True, null=True)),
                ('highest_priority', models.PositiveSmallIntegerField(default=0)),
                ('allowed_regions', models.JSONField(blank=True, default=list)),
                ('is_paused', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('retention_days', models.PositiveIntegerField(blank=True, null=True)),
                ('requests_per_minute', models.PositiveIntegerField(blank=True, null=True)),
                ('audio_seconds_per_day', models.PositiveIntegerField(blank=True, null=True)),
                ('audio_seconds_per_month', models.PositiveIntegerField(blank=True, null=True)),
                ('max_open_jobs', models.PositiveIntegerField(blank=True, null=True)),
                ('audio_days', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('payload_days', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('transcript_days', models.PositiveSmallIntegerField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('weight__gte', 1)), name='tenant_weight')],
            },
        ),
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('mode', models.CharField(choices=[('async', 'Async'), ('sync', 'Sync'), ('live', 'Live')], default='async', max_length=8)),
                ('audio_url', models.TextField(blank=True)),
                ('upload', models.CharField(blank=True, max_length=300)),
                ('filename', models.CharField(blank=True, max_length=255)),
                ('content_type', models.CharField(blank=True, max_length=100)),
                ('size_bytes', models.BigIntegerField(blank=True, null=True)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('duration_seconds', models.FloatField(blank=True, null=True)),
                ('channels', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('is_silent', models.BooleanField(blank=True, null=True)),
                ('options', models.JSONField(default=dict)),
                ('metadata', models.JSONField(default=dict)),
                ('callback_url', models.TextField(blank=True)),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('processing', 'Processing'), ('completed', 'Completed'), ('failed', 'Failed'), ('canceled', 'Canceled'), ('expired', 'Expired')], default='queued', max_length=10)),
                ('priority', models.PositiveSmallIntegerField(choices=[(0, 'Urgent'), (3, 'High'), (6, 'Normal'), (9, 'Low')], default=6)),
                ('lane', models.CharField(default='*', max_length=300)),
                ('ready', models.BooleanField(default=True)),
                ('run_at', models.DateTimeField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('worker', models.CharField(blank=True, max_length=200)),
                ('lease_token', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('attempt', models.PositiveSmallIntegerField(default=0)),
                ('max_attempts', models.PositiveSmallIntegerField(default=5)),
                ('crashes', models.PositiveSmallIntegerField(default=0)),
                ('error_code', models.CharField(blank=True, max_length=60)),
                ('error_detail', models.TextField(blank=True)),
                ('warnings', models.JSONField(default=list)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='jobs.apikey')),
                ('retry_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='retries', to='jobs.job')),
                ('region', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='jobs.region')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='jobs.tenant')),
            ],
        ),
        migrations.AddField(
            model_name='apikey',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='jobs.tenant'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='allowed_ips',
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name='apikey',
            name='replaced_by',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='replaces', to='jobs.apikey'),
        ),
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('metadata', models.JSONField(default=dict)),
                ('callback_url', models.TextField(blank=True)),
                ('total', models.PositiveIntegerField()),
                ('completed', models.PositiveIntegerField(default=0)),
                ('failed', models.PositiveIntegerField(default=0)),
                ('canceled', models.PositiveIntegerField(default=0)),
                ('expired', models.PositiveIntegerField(default=0)),
                ('told_percent', models.PositiveSmallIntegerField(default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='jobs.apikey')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='batches', to='jobs.tenant')),
                ('erased_at', models.DateTimeField(blank=True, null=True)),
                ('audio_seconds', models.FloatField(db_default=0, default=0)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('cost_estimate', models.DecimalField(db_default=0, decimal_places=6, default=0, max_digits=14)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('is_paused', models.BooleanField(db_default=False, default=False)),
                ('pace_at', models.DateTimeField(blank=True, null=True)),
                ('pace_at_done', models.PositiveIntegerField(db_default=0, default=0)),
                ('pace_from', models.DateTimeField(blank=True, null=True)),
                ('pace_from_done', models.PositiveIntegerField(db_default=0, default=0)),
                ('retry_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='retries', to='jobs.batch')),
                ('skipped', models.PositiveIntegerField(db_default=0, default=0)),
                ('state', models.CharField(choices=[('preparing', 'Preparing'), ('open', 'Open'), ('dropped', 'Dropped')], db_default='open', default='open', max_length=10)),
                ('told_after', models.UUIDField(blank=True, null=True)),
                ('wanted_priority', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('work_after', models.UUIDField(blank=True, null=True)),
                ('work_again', models.BooleanField(db_default=False, default=False)),
                ('work_at', models.DateTimeField(blank=True, null=True)),
                ('traceparent', models.CharField(blank=True, db_default='', default='', max_length=55)),
            ],
            options={
                'verbose_name_plural': 'batches',
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=40)),
                ('data', models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('actor', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField()),
                ('fanned_out_at', models.DateTimeField(blank=True, null=True)),
                ('job', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='jobs.job')),
                ('tenant', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
                ('batch', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, to='jobs.batch')),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='batch',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='jobs.batch'),
        ),
        migrations.CreateModel(
            name='ObjectToErase',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=300, unique=True)),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('route', models.CharField(max_length=100)),
                ('key', models.CharField(max_length=255)),
                ('digest', models.BinaryField(max_length=32)),
                ('status_code', models.PositiveSmallIntegerField()),
                ('body', models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('location', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
                ('erased_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='erased_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='reserved_seconds',
            field=models.DecimalField(blank=True, decimal_places=3, max_digits=12, null=True),
        ),
        migrations.CreateModel(
            name='QuotaCounter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('period', models.CharField(max_length=16)),
                ('used', models.DecimalField(decimal_places=3, default=0, max_digits=16)),
                ('reserved', models.DecimalField(decimal_places=3, default=0, max_digits=16)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='counters', to='jobs.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='StreamTicket',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('draft', models.JSONField(default=dict)),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('api_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to='jobs.apikey')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='route',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='job',
            name='callback_style',
            field=models.CharField(choices=[('webhook', 'Webhook'), ('deepgram', 'Deepgram'), ('deepgram_put', 'Deepgram Put')], db_default='webhook', default='webhook', max_length=16),
        ),
        migrations.AddField(
            model_name='job',
            name='custom_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=128),
        ),
        migrations.CreateModel(
            name='BatchError',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('line', models.PositiveIntegerField()),
                ('pointer', models.CharField(blank=True, max_length=300)),
                ('code', models.CharField(max_length=60)),
                ('detail', models.TextField()),
                ('excerpt', models.CharField(blank=True, max_length=200)),
                ('batch', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='errors', to='jobs.batch')),
            ],
        ),
        migrations.AddField(
            model_name='job',
            name='line',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='content_due_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='erased_content',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='job',
            name='retention',
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name='job',
            name='traceparent',
            field=models.CharField(blank=True, db_default='', default='', max_length=55),
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
            ],
            options={
                'verbose_name': 'audit entry',
                'verbose_name_plural': 'audit log',
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('jobs.event',),
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=jobs.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('lease_token', models.PositiveIntegerField()),
                ('worker', models.CharField(blank=True, max_length=200)),
                ('outcome', models.CharField(choices=[('open', 'Open'), ('ok', 'Ok'), ('error', 'Error'), ('unknown', 'Unknown')], default='open', max_length=8)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('status_code', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('error_code', models.CharField(blank=True, max_length=60)),
                ('audio_seconds', models.FloatField(blank=True, null=True)),
                ('cost_estimate', models.DecimalField(blank=True, decimal_places=6, max_digits=12, null=True)),
                ('started_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('reconciled_at', models.DateTimeField(blank=True, null=True)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='jobs.job')),
                ('region', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='jobs.region')),
                ('model', models.CharField(blank=True, db_default='', max_length=100)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='attempts', to='jobs.tenant')),
                ('trace_id', models.CharField(blank=True, db_default='', default='', max_length=32)),
            ],
            options={
                'indexes': [models.Index(models.F('region'), models.F('started_at'), name='attempt_recent')],
                'constraints': [models.UniqueConstraint(models.F('job'), models.F('lease_token'), name='attempt_of_claim'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('outcome', 'open')), models.Q(models.Q(('outcome', 'open'), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='attempt_open_iff_unfinished')],
            },
        ),
        migrations.CreateModel(
            name='Beacon',
            fields=[
                ('name', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('role', models.CharField(max_length=20)),
                ('seen_at', models.DateTimeField()),
            ],
        ),
        migrations.AlterModelOptions(
            name='apikey',
            options={'verbose_name': 'API key'},
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('lane'), models.F('tenant'), models.F('priority'), models.F('id'), condition=models.Q(('ready', True), ('status', 'queued')), name='job_claim'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('run_at'), condition=models.Q(('ready', False), ('status', 'queued')), name='job_waiting'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('lease_until'), condition=models.Q(('status', 'processing')), name='job_leased'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('expires_at'), condition=models.Q(('expires_at__isnull', False), ('status__in', ['processing', 'queued'])), name='job_expiring'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('id'), descending=True), name='job_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('status__in', ['canceled', 'completed', 'expired', 'failed'])), models.Q(('finished_at__isnull', True), ('status__in', ['processing', 'queued'])), _connector='OR'), name='job_final_has_finished_at'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'processing'), _negated=True), models.Q(('lease_until__isnull', False), ('region__isnull', False)), _connector='OR'), name='job_processing_has_lease'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'failed'), ('error_code', ''), _connector='XOR'), name='job_error_iff_failed'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('started_at__isnull', True), ('lease_token__gt', 0), _connector='OR'), name='job_started_only_if_claimed'),
        ),
        migrations.AddIndex(
            model_name='idempotencykey',
            index=models.Index(models.F('created_at'), name='idempotency_age'),
        ),
        migrations.AddConstraint(
            model_name='idempotencykey',
            constraint=models.UniqueConstraint(models.F('tenant'), models.F('route'), models.F('key'), name='idempotency_key'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('batch'), models.F('id'), condition=models.Q(('batch__isnull', False)), name='job_of_batch'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('id'), descending=True), name='batch_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('total__gt', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('completed'), '+', models.F('failed')), '+', models.F('canceled')), '+', models.F('expired')))), models.Q(('finished_at__isnull', False), ('total', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('completed'), '+', models.F('failed')), '+', models.F('canceled')), '+', models.F('expired')))), _connector='OR'), name='batch_finished_iff_all_done'),
        ),
        migrations.AddIndex(
            model_name='idempotencykey',
            index=models.Index(models.F('location'), name='idempotency_location'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('upload'), condition=models.Q(('upload', ''), _negated=True), name='job_upload'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('tenant'), models.F('finished_at'), condition=models.Q(('erased_at__isnull', True), ('finished_at__isnull', False)), name='job_retained'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('erased_at__isnull', True), models.Q(('audio_url', ''), ('callback_url', ''), ('error_detail', ''), ('filename', ''), ('metadata', {}), ('sha256', ''), ('status__in', ['canceled', 'completed', 'expired', 'failed']), ('upload', '')), _connector='OR'), name='job_erased_holds_nothing'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('tenant'), condition=models.Q(('reserved_seconds__isnull', False), ('status__in', ['processing', 'queued'])), name='job_reserved'),
        ),
        migrations.AddConstraint(
            model_name='quotacounter',
            constraint=models.UniqueConstraint(models.F('tenant'), models.F('period'), name='quota_counter'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(models.F('tenant'), models.F('started_at'), name='attempt_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('erased_at__isnull', True), models.Q(('callback_url', ''), ('metadata', {})), _connector='OR'), name='batch_erased_holds_nothing'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(models.F('work_at'), condition=models.Q(('work_at__isnull', False)), name='batch_work'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(models.F('tenant'), condition=models.Q(('state', 'open'), _negated=True), name='batch_hidden'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(models.F('id'), condition=models.Q(('is_paused', True)), name='batch_paused'),
        ),
        migrations.AddIndex(
            model_name='batcherror',
            index=models.Index(models.F('batch'), models.F('line'), models.F('id'), name='batch_error_line'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('tenant'), models.F('erased_content'), models.F('finished_at'), condition=models.Q(('erased_at__isnull', True), ('finished_at__isnull', False)), name='job_content_kept'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('content_due_at'), condition=models.Q(('content_due_at__isnull', False)), name='job_content_due'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('audio_url', ''), ('upload', ''), _connector='XOR'), ('mode', 'live'), ('erased_at__isnull', False), ('erased_content__in', [1, 3, 5, 7]), _connector='OR'), name='job_one_source'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(models.F('request_id'), condition=models.Q(('request_id', ''), _negated=True), name='attempt_request'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(models.OrderBy(models.F('id'), descending=True), condition=models.Q(('outcome__in', ['error', 'unknown'])), name='attempt_not_ok'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('finished_at'), condition=models.Q(('finished_at__isnull', False)), include=('status', 'created_at'), name='job_ended'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status__in', ['canceled', 'expired', 'failed'])), name='job_not_done'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.OrderBy(models.F('id'), descending=True), condition=models.Q(('mode', 'live')), name='job_live'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(models.F('custom_id'), condition=models.Q(('custom_id', ''), _negated=True), name='job_named'),
        ),
        migrations.RunSQL(
            sql='ALTER TABLE jobs_event ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()',
            reverse_sql='ALTER TABLE jobs_event DROP COLUMN xid',
            state_operations=[migrations.AddField(
                model_name='event',
                name='xid',
                field=jobs.models.transaction_ids.TransactionIdField(),
            )],
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.F('id'), condition=models.Q(('fanned_out_at__isnull', True)), name='event_outbox'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('fanned_out_at__isnull', False), ('tenant__isnull', False), _connector='OR'), name='event_told_to_a_tenant'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.F('batch'), condition=models.Q(('batch__isnull', False)), name='event_of_batch'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('id'), descending=True), condition=models.Q(models.Q(('actor', ''), _negated=True), models.Q(('type', 'job.queued'), _negated=True)), name='event_audit'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.F('tenant'), models.F('xid'), models.F('id'), name='event_of_tenant'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.OrderBy(models.F('id'), descending=True), condition=models.Q(models.Q(('actor', ''), _negated=True), models.Q(('type', 'job.queued'), _negated=True)), name='event_done'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(models.F('actor'), models.OrderBy(models.F('id'), descending=True), condition=models.Q(models.Q(('actor', ''), _negated=True), models.Q(('type', 'job.queued'), _negated=True)), name='event_by_actor'),
        ),
        migrations.RunSQL(
            sql='\nCREATE FUNCTION jobs_attempt_tenant() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  SELECT tenant_id INTO NEW.tenant_id FROM jobs_job WHERE id = NEW.job_id;\n  RETURN NEW;\nEND $$;\nCREATE TRIGGER attempt_of_older_code BEFORE INSERT ON jobs_attempt\nFOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION jobs_attempt_tenant();\n',
            reverse_sql='\nDROP TRIGGER attempt_of_older_code ON jobs_attempt;\nDROP FUNCTION jobs_attempt_tenant();\n',
        ),
    ]
