from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Big tables stay writable while the index is made.
    atomic = False

    dependencies = [
        ('transcripts', '0003_search'),
    ]

    operations = [
        migrations.AddField(
            model_name='searchentry',
            name='rule',
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        AddIndexConcurrently(
            model_name='searchentry',
            index=models.Index(models.F('transcript'), condition=models.Q(('rule__lt', 2)), name='search_outdated'),
        ),
    ]
