from .choose import choose as choose
from .columns import KINDS as KINDS, Column as Column, Columns as Columns
