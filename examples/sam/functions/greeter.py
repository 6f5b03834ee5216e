import os


def handler(event, context):
    return {"message": f"{os.environ['GREETING']}, {event.get('name', 'World')}!"}
