"""All migrations of 0.1 as one: the same schema in a fraction of the time.

Data migrations are left out: they change nothing in an empty database.
"""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('transcripts', '0001_initial'), ('transcripts', '0002_live_final'), ('transcripts', '0003_search')]

    initial = True

    dependencies = [
        ('jobs', '0001_squashed_0026_api_key_name'),
    ]

    operations = [
        migrations.CreateModel(
            name='Transcript',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='transcript', serialize=False, to='jobs.job')),
                ('text', models.TextField(blank=True)),
                ('language', models.CharField(blank=True, max_length=20)),
                ('model', models.CharField(blank=True, max_length=100)),
                ('confidence', models.FloatField(blank=True, null=True)),
                ('duration_seconds', models.FloatField()),
                ('channels', models.PositiveSmallIntegerField()),
                ('words', models.PositiveIntegerField()),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('raw', models.CharField(max_length=300)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('is_indexed', models.BooleanField(db_default=False, default=False)),
                ('starts', models.BinaryField(db_default=models.Value(b'', models.BinaryField()), default=b'')),
            ],
        ),
        migrations.CreateModel(
            name='LiveFinal',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('seq', models.PositiveIntegerField()),
                ('channel', models.PositiveSmallIntegerField()),
                ('start', models.FloatField()),
                ('end', models.FloatField()),
                ('speech_final', models.BooleanField()),
                ('alternative', models.TextField()),
                ('job', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='live_finals', to='jobs.job')),
            ],
            options={
                'constraints': [models.UniqueConstraint(models.F('job'), models.F('seq'), name='live_final_of_session')],
            },
        ),
        migrations.CreateModel(
            name='SearchEntry',
            fields=[
                ('transcript', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='search_entry', serialize=False, to='transcripts.transcript')),
                ('created_at', models.DateTimeField()),
                ('confidence', models.FloatField(blank=True, null=True)),
                ('config', models.CharField(max_length=20)),
                ('search', django.contrib.postgres.search.SearchVectorField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='jobs.tenant')),
            ],
            options={
                'verbose_name_plural': 'search entries',
            },
        ),
        migrations.AddIndex(
            model_name='transcript',
            index=models.Index(models.F('job'), condition=models.Q(('is_indexed', False)), name='transcript_unindexed'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=django.contrib.postgres.indexes.GinIndex(models.F('search'), gin_pending_list_limit=512, name='search_words'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(models.F('tenant'), models.OrderBy(models.F('transcript'), descending=True), name='search_newest'),
        ),
        migrations.AddIndex(
            model_name='searchentry',
            index=models.Index(models.F('tenant'), models.F('config'), name='search_configs'),
        ),
        migrations.RunSQL(
            sql=['ALTER TABLE transcripts_transcript ALTER starts SET STORAGE EXTERNAL', 'ALTER TABLE transcripts_searchentry ALTER search SET STORAGE EXTERNAL', 'ALTER TABLE transcripts_searchentry SET (toast_tuple_target = 128)'],
            reverse_sql='',
        ),
    ]
