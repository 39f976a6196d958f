// What an app in Node does with a MongoDB service: it finds it in VCAP_SERVICES, and verifies it by the authority there.
const {MongoClient} = require("mongodb");
const mongoose = require("mongoose");

const {credentials} = JSON.parse(process.env.VCAP_SERVICES).mongodb[0];
const trusting = {ca: credentials.ca_certificate};

async function byDriver() {
	const client = await MongoClient.connect(credentials.uri, trusting);
	const greeting = await client.db().collection("greetings").findOne({_id: 1});
	console.log("driver:", greeting.text);
	await client.close();
}

async function refused(what, doing) {
	try {
		await doing();
		console.log(what + ": done");
	} catch (error) {
		console.log(what + ": refused, " + error.message);
	}
}

async function byMongoose() {
	await mongoose.connect(credentials.uri, trusting);
	const Author = mongoose.model("Author", new mongoose.Schema(
		{name: {type: String, required: true, unique: true}, books: {type: Number, default: 0}}, {timestamps: true}));
	const Book = mongoose.model("Book", new mongoose.Schema(
		{title: String, author: {type: mongoose.Schema.Types.ObjectId, ref: "Author"}}));
	await Author.init(); // its indexes are there
	const author = await Author.create({name: "Mary Shelley"});
	await Book.create({title: "Frankenstein", author});
	await Author.updateOne({_id: author._id}, {$inc: {books: 1}});
	const book = await Book.findOne({title: /^frank/i}).populate("author");
	console.log("mongoose:", book.title, "by", book.author.name);
	await refused("another Mary Shelley", () => Author.create({name: "Mary Shelley"}));
	await refused("nobody", () => Author.create({}));
	await refused("both or none", () => mongoose.connection.transaction(async (session) => {
		await Author.create([{name: "Ada Lovelace"}], {session});
	}));
	console.log("of both:", await Author.countDocuments({name: "Ada Lovelace"}));
	await mongoose.disconnect();
}

byDriver().then(byMongoose).catch((error) => {
	console.error(error);
	process.exit(1);
});
