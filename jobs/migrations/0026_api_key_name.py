from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0025_beacon'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='apikey',
            options={'verbose_name': 'API key'},
        ),
    ]
