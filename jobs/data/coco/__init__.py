"""Images with objects in the format of MS-COCO, in its 2017 layout.

``<root>/annotations/instances_{train,val}2017.json`` describe the images of
``<root>/{train,val}2017``. `layout` looks at names only and is light; `scenes.check_scenes` reads
everything once and says what a run may use.
"""
